//! Programs of traffic control (tc): they see what an interface has received once the kernel has made a socket buffer of it. Attached
//! by tcx (Linux 6.6), they stay until somebody detaches them or the interface goes, without a process, a link or a file to hold them.

use libbpf_rs::libbpf_sys::{self, BPF_F_BEFORE, BPF_F_REPLACE, BPF_TCX_INGRESS};
use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

/// Programs in front of an interface's ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingress {
    /// Their ids, in the order in which they run.
    pub programs: Vec<u32>,
    /// Which list this is: a change of the list may be made conditional on it.
    pub revision: u64,
}

/// The revision of a list that is not there yet.
const FIRST_REVISION: u64 = 1;

impl Ingress {
    /// The programs of the interface with this index, in the network namespace of the calling thread; none where the kernel has no
    /// tcx.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(ifindex: u32) -> io::Result<Option<Self>> {
        let mut room = 16;
        loop {
            let mut programs = vec![0; room];
            let mut options = libbpf_sys::bpf_prog_query_opts {
                sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as libbpf_sys::size_t,
                prog_ids: programs.as_mut_ptr(),
                ..Default::default()
            };
            options.__bindgen_anon_1.count = room as u32;
            // SAFETY: `options` says its own size, and leads to as many ids as it says; both outlive the call.
            let result = unsafe { libbpf_sys::bpf_prog_query_opts(ifindex as RawFd, BPF_TCX_INGRESS, &mut options) };
            // SAFETY: both fields of the union are the same number.
            let count = unsafe { options.__bindgen_anon_1.count } as usize;
            match -result {
                0 if count <= room => {
                    programs.truncate(count);
                    return Ok(Some(Self { programs, revision: options.revision.max(FIRST_REVISION) }));
                }
                0 | libc::ENOSPC => room = count.max(2 * room),
                libc::ENOENT => return Ok(Some(Self { programs: Vec::new(), revision: FIRST_REVISION })),
                libc::EINVAL | libc::EOPNOTSUPP => return Ok(None),
                errno => return Err(io::Error::from_raw_os_error(errno)),
            }
        }
    }

    /// Attaches a program: in front of all, or in the place of one that is there, between two packets. Where the list has changed since
    /// it was read, the kernel says `ESTALE` and nothing happens.
    ///
    /// # Errors
    /// The kernel's.
    pub fn attach(&self, ifindex: u32, program: BorrowedFd<'_>, instead: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut options = libbpf_sys::bpf_prog_attach_opts {
            sz: size_of::<libbpf_sys::bpf_prog_attach_opts>() as libbpf_sys::size_t,
            flags: if instead.is_some() { BPF_F_REPLACE } else { BPF_F_BEFORE },
            expected_revision: self.revision,
            ..Default::default()
        };
        if let Some(instead) = instead {
            options.__bindgen_anon_1.replace_fd = instead.as_raw_fd();
        }
        let (program, target) = (program.as_raw_fd(), ifindex as RawFd);
        // SAFETY: the descriptors are open, `options` says its own size, and outlives the call.
        done(unsafe { libbpf_sys::bpf_prog_attach_opts(program, target, BPF_TCX_INGRESS, &options) })
    }
}

/// Detaches a program that tcx runs.
///
/// # Errors
/// The kernel's: `ENOENT` where it is not attached there.
pub fn detach(ifindex: u32, program: BorrowedFd<'_>) -> io::Result<()> {
    let options = libbpf_sys::bpf_prog_detach_opts {
        sz: size_of::<libbpf_sys::bpf_prog_detach_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    let (program, target) = (program.as_raw_fd(), ifindex as RawFd);
    // SAFETY: the descriptor is open, `options` says its own size, and outlives the call.
    done(unsafe { libbpf_sys::bpf_prog_detach_opts(program, target, BPF_TCX_INGRESS, &options) })
}

fn done(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

/// What the kernel says of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The name that its function has in C, as far as the kernel keeps it: 15 octets.
    pub name: String,
    /// The ids of its maps.
    pub maps: Vec<u32>,
}

impl About {
    /// Asks.
    ///
    /// # Errors
    /// The kernel's.
    pub fn program(program: BorrowedFd<'_>) -> io::Result<Self> {
        let mut maps = vec![0u32; 64];
        let mut info = libbpf_sys::bpf_prog_info {
            nr_map_ids: maps.len() as u32,
            map_ids: maps.as_mut_ptr() as u64,
            ..Default::default()
        };
        let mut length = size_of_val(&info) as u32;
        // SAFETY: `info` is as long as said, and leads to as many ids as it says; both outlive the call.
        done(unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &mut info, &mut length) })?;
        maps.truncate(info.nr_map_ids as usize);
        // SAFETY: the kernel ends the name with a NUL within its 16 octets.
        let name = unsafe { CStr::from_ptr(info.name.as_ptr()) };
        Ok(Self { name: name.to_string_lossy().into_owned(), maps })
    }
}

/// A packet on which a program is tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trial<'a> {
    /// The frame, at least an Ethernet header.
    pub frame: &'a [u8],
    /// How large its segments are, where it stands for several.
    pub gso_size: u32,
    /// How often; the frame is what the last time left of it.
    pub repeat: u32,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the program returned.
    pub action: i32,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
    /// How long it took, on average.
    pub duration: Duration,
}

/// `struct __sk_buff` of <linux/bpf.h> up to the last field that is set here, in words; the kernel takes a shorter one.
const SK_BUFF_WORDS: usize = SK_BUFF_GSO_SIZE + 1;
const SK_BUFF_GSO_SIZE: usize = 44;

/// Tries a program.
///
/// # Errors
/// The kernel's: `EINVAL` for a frame that is too short.
pub fn try_on(program: BorrowedFd<'_>, trial: Trial<'_>) -> io::Result<Outcome> {
    let mut context = [0u32; SK_BUFF_WORDS];
    context[SK_BUFF_GSO_SIZE] = trial.gso_size;
    let mut frame = vec![0; trial.frame.len() + 256];
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        data_in: trial.frame.as_ptr().cast(),
        data_size_in: trial.frame.len() as u32,
        data_out: frame.as_mut_ptr().cast(),
        data_size_out: frame.len() as u32,
        ctx_in: context.as_ptr().cast(),
        ctx_size_in: size_of_val(&context) as u32,
        repeat: trial.repeat.max(1) as i32,
        ..Default::default()
    };
    // SAFETY: the pointers in `options` lead to values of the sizes beside them, which outlive the call.
    done(unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &mut options) })?;
    frame.truncate(options.data_size_out as usize);
    let duration = Duration::from_nanos(options.duration.into());
    Ok(Outcome { action: options.retval as i32, frame, duration })
}
