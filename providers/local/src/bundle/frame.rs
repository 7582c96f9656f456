//! The frames of a bundle: sealed one by one, so that a bundle of any size is read and written with little memory.

use std::io::{self, ErrorKind, Read, Write};

use leasehold_core::SecretBytes;
use leasehold_seal::SealError;
use serde::{Deserialize, Serialize};

use super::{Bundle, BundleError};
use crate::{
    reference::{Reference, Version},
    standing::Standing,
    stored::Stored,
};

/// What a frame holds.
pub(super) enum Frame {
    /// A secret begins.
    Secret(Head),
    /// One of its versions.
    Version(Version, Stored),
    /// The bundle ends here.
    End {
        /// How many secrets there were.
        secrets: u64,
        /// How many versions they had.
        versions: u64,
    },
}

/// What is said of a secret before its versions.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) reference: Reference,
    pub(super) standing: Standing,
}

/// The form of a head.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadForm {
    secret: String,
    #[serde(default)]
    standing: Standing,
}

const FORM: &[u8] = b"leasehold-local-bundle/1\n";
/// No version is larger than this, sealed.
const LARGEST: usize = 4 << 20;

const SECRET: u8 = b'S';
const VERSION: u8 = b'V';
const END: u8 = b'E';

/// Writes frames.
pub(super) struct Sealer<'a, W> {
    bundle: &'a Bundle<'a>,
    name: [u8; 16],
    writer: W,
    index: u64,
}

/// Reads frames.
pub(super) struct Frames<'a> {
    bundle: &'a Bundle<'a>,
    name: [u8; 16],
    reader: Box<dyn Read + 'a>,
    index: u64,
}

impl<'a, W: Write> Sealer<'a, W> {
    pub(super) fn begin(bundle: &'a Bundle<'a>, name: [u8; 16], mut writer: W) -> Result<Self, BundleError> {
        writer.write_all(FORM).and_then(|()| writer.write_all(&name)).map_err(bundle.io("write"))?;
        Ok(Self { bundle, name, writer, index: 0 })
    }

    pub(super) fn put(&mut self, frame: &Frame) -> Result<(), BundleError> {
        let bundle = self.bundle;
        let unfit = || io::Error::new(ErrorKind::InvalidData, "a frame cannot be written");
        let plain = frame.encode().ok_or_else(|| bundle.io("write")(unfit()))?;
        let sealed = bundle.key.seal(&context(&self.name, self.index), plain.expose());
        let sealed = sealed.map_err(|error| bundle.io("seal")(io::Error::other(error)))?;
        let length = u32::try_from(sealed.len()).ok().filter(|_| sealed.len() <= LARGEST);
        let length = length.ok_or_else(|| bundle.io("write")(unfit()))?;
        let written = self.writer.write_all(&length.to_be_bytes());
        written.and_then(|()| self.writer.write_all(&sealed)).map_err(bundle.io("write"))?;
        self.index = self.index.saturating_add(1);
        Ok(())
    }
}

impl<W: Write> Sealer<'_, io::BufWriter<W>> {
    /// Gives back what is written to, with everything in it.
    pub(super) fn finish(self) -> Result<W, BundleError> {
        let bundle = self.bundle;
        self.writer.into_inner().map_err(|error| bundle.io("write")(error.into_error()))
    }
}

impl<'a> Frames<'a> {
    pub(super) fn begin(bundle: &'a Bundle<'a>, mut reader: impl Read + 'a) -> Result<Self, BundleError> {
        let (mut form, mut name) = ([0; FORM.len()], [0; 16]);
        let read = reader.read_exact(&mut form).and_then(|()| reader.read_exact(&mut name));
        match read {
            Ok(()) if form == FORM => Ok(Self { bundle, name, reader: Box::new(reader), index: 0 }),
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(bundle.io("read")(error)),
            _ => Err(BundleError::NotABundle { path: bundle.path.to_owned() }),
        }
    }

    /// The next frame; that there is none is damage, since the last one says that it is.
    pub(super) fn next(&mut self) -> Result<Frame, BundleError> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LARGEST {
            return Err(self.damaged());
        }
        let mut sealed = vec![0; length];
        self.read(&mut sealed)?;
        let plain = match self.bundle.key.open(&context(&self.name, self.index), &sealed) {
            Ok(plain) => plain,
            Err(SealError::UnknownKey { .. }) => {
                return Err(BundleError::WrongKey { path: self.bundle.path.to_owned() });
            }
            Err(_) => return Err(self.damaged()),
        };
        let frame = Frame::decode(&plain).ok_or_else(|| self.damaged())?;
        self.index = self.index.saturating_add(1);
        Ok(frame)
    }

    /// After the last frame there is nothing.
    pub(super) fn finish(&mut self) -> Result<(), BundleError> {
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged()),
            Err(error) => Err(self.bundle.io("read")(error)),
        }
    }

    pub(super) fn damaged(&self) -> BundleError {
        BundleError::Damaged { path: self.bundle.path.to_owned(), frame: self.index }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), BundleError> {
        match self.reader.read_exact(buffer) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.damaged()),
            Err(error) => Err(self.bundle.io("read")(error)),
        }
    }
}

impl Frame {
    fn encode(&self) -> Option<SecretBytes> {
        let mut plain = Vec::new();
        match self {
            Self::Secret(head) => {
                let secret = head.reference.as_str().to_owned();
                plain.push(SECRET);
                let form = HeadForm { secret, standing: head.standing.clone() };
                plain.extend(serde_json::to_vec(&form).ok()?);
            }
            Self::Version(version, stored) => {
                let (version, stored) = (version.to_string(), stored.encode()?);
                // At once as long as it will be: a buffer that grows leaves copies behind.
                plain.reserve_exact(stored.len().checked_add(version.len())?.checked_add(2)?);
                plain.push(VERSION);
                plain.push(u8::try_from(version.len()).ok()?);
                plain.extend_from_slice(version.as_bytes());
                plain.extend_from_slice(stored.expose());
            }
            Self::End { secrets, versions } => {
                plain.push(END);
                plain.extend_from_slice(&secrets.to_be_bytes());
                plain.extend_from_slice(&versions.to_be_bytes());
            }
        }
        Some(SecretBytes::new(plain))
    }

    fn decode(plain: &SecretBytes) -> Option<Self> {
        let (kind, rest) = plain.expose().split_first()?;
        match *kind {
            SECRET => {
                let form: HeadForm = serde_json::from_slice(rest).ok()?;
                let reference = Reference::parse(&form.secret).ok()?;
                Some(Self::Secret(Head { reference, standing: form.standing }))
            }
            VERSION => {
                let (length, rest) = rest.split_first()?;
                let (version, stored) = rest.split_at_checked(usize::from(*length))?;
                let version = Version::parse(std::str::from_utf8(version).ok()?)?;
                Some(Self::Version(version, Stored::decode(&SecretBytes::new(stored.to_vec()))?))
            }
            END => {
                let (secrets, rest) = rest.split_first_chunk()?;
                let versions = rest.try_into().ok()?;
                Some(Self::End {
                    secrets: u64::from_be_bytes(*secrets),
                    versions: u64::from_be_bytes(versions),
                })
            }
            _ => None,
        }
    }
}

/// For what a frame is sealed: its bundle, and its place there.
fn context(name: &[u8; 16], index: u64) -> Vec<u8> {
    let mut context = b"leasehold-local-bundle/1\0".to_vec();
    context.extend_from_slice(name);
    context.extend_from_slice(&index.to_be_bytes());
    context
}
