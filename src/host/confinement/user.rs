use nix::unistd::{self, Gid, Uid, getgrouplist};
use std::{ffi::CString, fmt, str::FromStr};

/// A user to go on as, with all groups, looked up beforehand: later there may be no file to look in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl User {
    pub(super) fn uid(&self) -> Uid {
        self.uid
    }

    pub(super) fn gid(&self) -> Gid {
        self.gid
    }

    pub(super) fn groups(&self) -> &[Gid] {
        &self.groups
    }

    fn known(found: unistd::User) -> Result<Self, String> {
        let unknown = |what: &str| format!("the groups of {} cannot be looked up: {what}", found.name);
        let name = CString::new(found.name.as_str()).map_err(|_| unknown("its name has a NUL"))?;
        let groups = getgrouplist(&name, found.gid).map_err(|errno| unknown(errno.desc()))?;
        Ok(Self { name: found.name, uid: found.uid, gid: found.gid, groups })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FromStr for User {
    type Err = String;

    /// Reads a name or number that the system knows, or both numbers, `UID:GID`.
    fn from_str(text: &str) -> Result<Self, String> {
        let failed = |errno: nix::Error| format!("user {text:?} cannot be looked up: {}", errno.desc());
        let user = match text.split_once(':') {
            Some((uid, gid)) => {
                let bad = || format!("{text:?} is no UID:GID: write two numbers such as 65534:65534");
                let number = |text: &str| text.parse::<u32>().ok().filter(|&id| id != u32::MAX).ok_or_else(bad);
                let (uid, gid) = (Uid::from_raw(number(uid)?), Gid::from_raw(number(gid)?));
                Self { name: text.to_owned(), uid, gid, groups: vec![gid] }
            }
            None => {
                let found = match text.parse() {
                    Ok(uid) => unistd::User::from_uid(Uid::from_raw(uid)),
                    Err(_) => unistd::User::from_name(text),
                };
                let unknown = || format!("there is no user {text:?}: name one of `getent passwd`, or write UID:GID");
                Self::known(found.map_err(failed)?.ok_or_else(unknown)?)?
            }
        };
        match user.uid.is_root() {
            true => Err("root is whom another user is to spare: name one without rights, such as nobody".to_owned()),
            false => Ok(user),
        }
    }
}
