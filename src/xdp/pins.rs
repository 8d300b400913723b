//! What outlives a process: maps and links by their names in a BPF file system, in a folder that one process has at a time.

use super::{XdpError, memory::SharedMemory, refusal};
use libbpf_rs::{
    MapCore, MapHandle, MapType,
    libbpf_sys::{self, BPF_F_MMAPABLE},
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use std::{
    collections::HashSet,
    ffi::CString,
    fmt::Write,
    fs::{self, DirBuilder, File},
    io,
    mem::size_of,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, MetadataExt},
        },
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// A folder of pins, this process' alone as long as this value lives. What is in it stays when that is dropped.
#[derive(Debug)]
pub struct Pins {
    folder: PathBuf,
    lock: Flock<File>,
}

/// An attachment that a process has left.
#[derive(Debug)]
pub struct LeftLink {
    pub(super) link: OwnedFd,
    /// The interface's index; 0 where that is gone.
    pub ifindex: u32,
    /// The id of the program that is attached.
    pub program: u32,
}

impl Pins {
    /// The folder of whoever has this interface of this thread's network namespace: made where it is not there. `root` has to be in a
    /// BPF file system.
    ///
    /// # Errors
    /// [`XdpError::PinsTaken`] where another process has the folder, or the kernel's.
    pub fn take(root: &Path, interface: &str) -> Result<Self, XdpError> {
        let folder = folder(root, interface)?;
        loop {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(|source| XdpError::refused(format!("make {}", folder.display()), source))?;
            let pins = Self::lock(folder.clone())?;
            // Whoever had it may have removed it in the meantime.
            let ours = pins.lock.metadata().map(|found| found.ino()).ok();
            if fs::metadata(&folder).is_ok_and(|found| Some(found.ino()) == ours) {
                return Ok(pins);
            }
        }
    }

    /// That folder where it is there already; `None` where it is not.
    ///
    /// # Errors
    /// [`XdpError::PinsTaken`], or the kernel's.
    pub fn open(root: &Path, interface: &str) -> Result<Option<Self>, XdpError> {
        let (its, link) = (folder(root, interface)?, link_name(interface));
        // It may be another one's second interface.
        let namespace = its.to_string_lossy().rsplit_once('-').map(|(_, number)| format!("-{number}"));
        let is_of = |path: &PathBuf| namespace.as_ref().is_some_and(|it| path.to_string_lossy().ends_with(it));
        let others = || fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        let found = its.is_dir().then_some(its);
        let found = found.or_else(|| others().find(|path| is_of(path) && path.join(&link).exists()));
        found.map(Self::lock).transpose()
    }

    /// That folder where it is there and nobody has it; `None` where that is not so.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find(root: &Path, interface: &str) -> Result<Option<Self>, XdpError> {
        match Self::open(root, interface) {
            Err(XdpError::PinsTaken { .. }) => Ok(None),
            opened => opened,
        }
    }

    fn lock(folder: PathBuf) -> Result<Self, XdpError> {
        let failed = |source: io::Error| XdpError::refused(format!("lock {}", folder.display()), source);
        match Flock::lock(File::open(&folder).map_err(failed)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { folder, lock }),
            Err((_, Errno::EWOULDBLOCK)) => Err(XdpError::PinsTaken { path: folder }),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// The names of all there is.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.names().is_empty()
    }

    /// Pins a map or a link, in the place of what had the name.
    pub(super) fn pin(&self, object: BorrowedFd<'_>, name: &str) -> Result<(), XdpError> {
        let (path, fresh) = (self.folder.join(name), self.folder.join(format!("{name}-new")));
        let failed = |source: io::Error| XdpError::refused(format!("pin {}", path.display()), source);
        // What a process that was killed here has left, and what is nobody's pin.
        fs::remove_file(&fresh).ok();
        if path.is_dir() {
            fs::remove_dir_all(&path).map_err(failed)?;
        }
        let text = CString::new(fresh.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
        // SAFETY: the descriptor is open, and the path ends with a zero and outlives the call.
        let result = unsafe { libbpf_sys::bpf_obj_pin(object.as_raw_fd(), text.as_ptr()) };
        if result < 0 {
            return Err(failed(io::Error::from_raw_os_error(-result)));
        }
        fs::rename(&fresh, &path).map_err(failed)
    }

    /// Pins a map by a name that no other has.
    pub(super) fn pin_rows(&self, map: &MapHandle) -> Result<String, XdpError> {
        let id = map.info().map_err(|error| refusal::refused("ask for a map's number", &error))?.info.id;
        let name = format!("{ROWS}{id}");
        self.pin(map.as_fd(), &name)?;
        Ok(name)
    }

    /// A map of this name; `None` where there is none. What is there may be another object: whoever asks looks whether it is like his.
    pub(super) fn map(&self, name: &str) -> Option<MapHandle> {
        MapHandle::from_pinned_path(self.folder.join(name)).ok()
    }

    /// The first words of an array that is pinned.
    fn words(&self, name: &str) -> Option<SharedMemory<AtomicU64>> {
        let map = self.map(name).filter(|map| map.map_type() == MapType::Array)?;
        let words = map.max_entries() as usize * map.value_size().div_ceil(8) as usize;
        SharedMemory::of_map(map.as_fd(), words).ok()
    }

    /// What an array of words holds now.
    pub(crate) fn read_words(&self, name: &str) -> Option<Vec<u64>> {
        let words = self.words(name)?;
        Some(words.as_slice().iter().map(|word| word.load(Ordering::Acquire)).collect())
    }

    /// Keeps some octets by this name, in the place of what had it, all at once.
    pub(crate) fn keep(&self, name: &str, octets: &[u8]) -> Result<(), XdpError> {
        let words = 1 + octets.len().div_ceil(8);
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            map_flags: BPF_F_MMAPABLE,
            ..Default::default()
        };
        let map = MapHandle::create(MapType::Array, Some(name), 4, 8, words as u32, &options)
            .map_err(|error| refusal::refused("make a map for what is to outlive the process", &error))?;
        let memory = SharedMemory::<AtomicU64>::of_map(map.as_fd(), words)?;
        memory.as_slice()[0].store(octets.len() as u64, Ordering::Release);
        for (word, piece) in memory.as_slice()[1..].iter().zip(octets.chunks(8)) {
            let mut whole = [0; 8];
            whole[..piece.len()].copy_from_slice(piece);
            word.store(u64::from_ne_bytes(whole), Ordering::Release);
        }
        self.pin(map.as_fd(), name)
    }

    /// What was kept by this name.
    pub(crate) fn kept(&self, name: &str) -> Option<Vec<u8>> {
        let words = self.read_words(name)?;
        let (length, words) = words.split_first()?;
        let mut octets: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let length = usize::try_from(*length).ok().filter(|&length| length <= octets.len())?;
        octets.truncate(length);
        Some(octets)
    }

    /// The attachment to an interface, where one is left.
    pub fn link(&self, interface: &str) -> Option<LeftLink> {
        let path = CString::new(self.folder.join(link_name(interface)).as_os_str().as_bytes()).ok()?;
        // SAFETY: the path ends with a zero and outlives the call.
        let link = unsafe { libbpf_sys::bpf_obj_get(path.as_ptr()) };
        if link < 0 {
            return None;
        }
        // SAFETY: the kernel has just opened this descriptor for us and nobody else knows of it.
        let link = unsafe { OwnedFd::from_raw_fd(link) };
        let mut info = libbpf_sys::bpf_link_info::default();
        let mut length = size_of::<libbpf_sys::bpf_link_info>() as u32;
        // SAFETY: the descriptor is open, and there is room for `length` octets, which outlive the call.
        let result = unsafe { libbpf_sys::bpf_link_get_info_by_fd(link.as_raw_fd(), &mut info, &mut length) };
        if result < 0 || info.type_ != libbpf_sys::BPF_LINK_TYPE_XDP {
            return None;
        }
        // SAFETY: all of it is initialized, and any number is one. Of another object than a link it means nothing, and fits no interface.
        let ifindex = unsafe { info.__bindgen_anon_1.xdp.ifindex };
        Some(LeftLink { link, ifindex, program: info.prog_id })
    }

    /// Takes away the attachment to an interface.
    pub(crate) fn remove_link(&self, interface: &str) {
        self.remove(|name| name == link_name(interface));
    }

    /// Takes away the attachments to all interfaces but these.
    pub(crate) fn keep_links(&self, interfaces: &[String]) {
        let kept: HashSet<String> = interfaces.iter().map(|interface| link_name(interface)).collect();
        self.remove(|name| name.starts_with(LINK) && !kept.contains(name));
    }

    /// Takes away all rows but these.
    pub(crate) fn keep_rows(&self, names: &HashSet<&str>) {
        self.remove(|name| name.starts_with(ROWS) && !names.contains(name));
    }

    /// Takes away all there is: programs that nobody else holds are detached.
    pub fn clear(&self) {
        self.remove(|_| true);
        fs::remove_dir(&self.folder).ok();
    }

    pub(super) fn remove(&self, is_gone: impl Fn(&str) -> bool) {
        for name in self.names().into_iter().filter(|name| is_gone(name)) {
            let path = self.folder.join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(error) = removed {
                tracing::warn!("{} stays pinned: {error}", path.display());
            }
        }
    }
}

const LINK: &str = "link-";
const ROWS: &str = "rows-";

pub(super) fn link_name(interface: &str) -> String {
    format!("{LINK}{}", escape(interface))
}

/// Names there have no dots (`bpf_lookup` in the kernel keeps those for itself), and an interface's may have any.
fn escape(interface: &str) -> String {
    let mut name = String::new();
    for octet in interface.bytes() {
        match octet {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' => name.push(octet.into()),
            _ => _ = write!(name, "%{octet:02x}"),
        }
    }
    name
}

/// Another namespace may have an interface of the same name.
fn folder(root: &Path, interface: &str) -> Result<PathBuf, XdpError> {
    let namespace = fs::metadata("/proc/thread-self/ns/net");
    let namespace = namespace.map_err(|source| XdpError::refused("ask which network namespace this is", source))?;
    Ok(root.join(format!("{}-{}", escape(interface), namespace.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_have_names_of_their_own_without_dots() {
        assert_eq!(link_name("eth0"), "link-eth0");
        assert_eq!(link_name("eth0.100"), "link-eth0%2e100");
        assert_ne!(escape("a-b"), escape("a%2db"));
    }
}
