//! What every Unix socket of the sidecar has: a path, a group and permissions.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use leasehold_config::{
    Element, Section,
    element::{Wrong, text},
};

/// A Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Where it is.
    pub path: PathBuf,
    /// Its group: a name or a number; the sidecar's own when absent.
    pub group: Option<String>,
    /// Its permissions.
    pub mode: u32,
}

/// `0600` or `0660`: who may connect must be able to write.
struct Mode(u32);

/// sockaddr_un(7) has room for so many bytes and a zero.
const LONGEST: usize = 107;

impl Socket {
    /// Whether its group may connect.
    pub fn lets_group_in(&self) -> bool {
        self.mode & 0o060 != 0
    }
}

/// `socket`, `group` and `mode` of a section.
pub(super) fn read(section: &Section<'_>) -> Option<Socket> {
    let path = section.required_path("socket").filter(|path| fits(path, section));
    let group = section.optional::<String>("group");
    let default = Mode(if group.is_some() { 0o660 } else { 0o600 });
    let Mode(mode) = section.or("mode", default);
    Some(Socket { path: path?, group, mode })
}

fn fits(path: &Path, section: &Section<'_>) -> bool {
    let fits = path.as_os_str().as_bytes().len() <= LONGEST;
    if !fits {
        let message = format!("the path of a socket has at most {LONGEST} bytes");
        section.fault(
            section.place_of("socket"),
            message,
            "use a shorter one, such as `/run/leasehold/app.sock`",
        );
    }
    fits
}

impl Element for Mode {
    const SHAPE: &'static str = "`\"0600\"` or `\"0660\"`";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        match text::<Self>(value)? {
            "0600" | "600" => Ok(Self(0o600)),
            "0660" | "660" => Ok(Self(0o660)),
            "0666" | "666" | "0777" | "777" => {
                Err(Wrong("lets everybody on the machine in: the last digit is 0".to_owned()))
            }
            _ => Err(Wrong::shape::<Self>()),
        }
    }

    fn show(&self) -> String {
        format!("{:04o}", self.0)
    }
}
