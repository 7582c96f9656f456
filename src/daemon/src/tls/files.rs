//! Reading PEM files, and refusing those that are not what they should be before anything is made of them.

use std::{
    fs::{File, OpenOptions},
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::OFlags;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use zeroize::Zeroizing;

use super::Fault;

/// Larger than any chain or bundle.
const PEM_LIMIT: u64 = 4 << 20;
/// Public authorities' lists reach tens of megabytes; a private one's do not.
const CRL_LIMIT: u64 = 64 << 20;

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bytes = read(&open(path)?, PEM_LIMIT)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().map_err(not_pem)?;
    if found.is_empty() { Err(Fault::Nothing("CERTIFICATE")) } else { Ok(found) }
}

/// The one key of a PEM file that nobody else can read.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    let file = open(path)?;
    refuse_exposed(&file)?;
    let bytes = read(&file, PEM_LIMIT)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if contains(&bytes, b"ENCRYPTED PRIVATE KEY") => Fault::Encrypted,
        pem::Error::NoItemsFound => Fault::Nothing("PRIVATE KEY"),
        other => not_pem(other),
    })
}

/// The revocation lists of a PEM file, or the one of a DER file.
pub(super) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Fault> {
    let bytes = read(&open(path)?, CRL_LIMIT)?;
    // DER begins with a SEQUENCE; PEM is text.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![CertificateRevocationListDer::from(bytes.to_vec())]);
    }
    let found = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(not_pem)?;
    if found.is_empty() { Err(Fault::Nothing("X509 CRL")) } else { Ok(found) }
}

fn open(path: &Path) -> Result<File, Fault> {
    // Without NONBLOCK a pipe in the file's place would hang the daemon.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(Fault::Unreadable)?;
    if file.metadata().map_err(Fault::Unreadable)?.is_file() { Ok(file) } else { Err(Fault::NotAFile) }
}

fn read(file: &File, limit: u64) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let length = file.metadata().map_err(Fault::Unreadable)?.len();
    if length > limit {
        return Err(Fault::TooLarge { limit });
    }
    // Room for all of it at once: a growing buffer would leave copies of a key behind.
    let room = usize::try_from(length).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit).read_to_end(&mut bytes).map_err(Fault::Unreadable)?;
    Ok(bytes)
}

fn refuse_exposed(file: &File) -> Result<(), Fault> {
    let metadata = file.metadata().map_err(Fault::Unreadable)?;
    let owners =
        Owners { uid: metadata.uid(), gid: metadata.gid(), daemon: rustix::process::geteuid().as_raw() };
    judge_mode(owners, metadata.mode() & 0o7777)
}

struct Owners {
    uid: u32,
    gid: u32,
    daemon: u32,
}

fn judge_mode(owners: Owners, mode: u32) -> Result<(), Fault> {
    if owners.uid != 0 && owners.uid != owners.daemon {
        return Err(Fault::ForeignOwner { uid: owners.uid });
    }
    // systemd gives a service its credentials by an access list on files of root:root: the group bits are that
    // list's mask (0440), and the group itself is root's.
    let credential = owners.uid == 0 && owners.gid == 0 && mode & 0o337 == 0;
    if mode & 0o077 != 0 && !credential {
        return Err(Fault::Exposed { mode });
    }
    Ok(())
}

fn not_pem(error: pem::Error) -> Fault {
    Fault::NotPem(match error {
        pem::Error::MissingSectionEnd { .. } => "an `-----END` line is missing".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a `-----BEGIN` line is broken".to_owned(),
        pem::Error::Base64Decode(why) => format!("broken Base64: {why}"),
        pem::Error::NoItemsFound => "nothing of the kind in it".to_owned(),
        _ => "broken".to_owned(),
    })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_owners_alone_or_a_credential() {
        let judge = |uid, gid, mode| judge_mode(Owners { uid, gid, daemon: 998 }, mode);
        for mode in [0o400, 0o600, 0o700] {
            assert!(judge(998, 998, mode).is_ok() && judge(0, 0, mode).is_ok(), "{mode:o}");
        }
        assert!(judge(0, 0, 0o440).is_ok(), "systemd's credentials");
        for (uid, gid, mode) in
            [(998, 998, 0o440), (998, 998, 0o604), (0, 5, 0o440), (0, 0, 0o444), (0, 0, 0o460)]
        {
            assert!(matches!(judge(uid, gid, mode), Err(Fault::Exposed { .. })), "{uid} {gid} {mode:o}");
        }
        assert!(matches!(judge(997, 998, 0o600), Err(Fault::ForeignOwner { uid: 997 })));
    }
}
