//! What a fenced program may not ask of the kernel. Everything else is allowed, because what a server needs differs between its versions
//! and between C libraries; what is here is what leads out of a fence that Landlock keeps around files.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// Refused as to somebody without the right.
const REFUSED: &[i64] = &[
    // To reach anybody by a socket. A server waits for others to connect.
    libc::SYS_connect,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_mq_open,
    // Other processes of the same user.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // What files are beside their content, which Landlock leaves alone.
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    SETXATTRAT,
    REMOVEXATTRAT,
    libc::SYS_utimensat,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // A program that is in no file, and so under no rule for files.
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_execveat,
    // Other views of the machine, and the machine itself.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

/// The older forms that only this architecture has.
#[cfg(target_arch = "x86_64")]
const REFUSED_OLD: &[i64] = &[
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_OLD: &[i64] = &[];

/// They are told that the kernel has no such thing: the first has an older form, which can be looked into; the others would do calls
/// that no filter sees.
const ABSENT: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// They do nothing and say that it was done. A mode is all that Landlock does not keep of a file that belongs to the same user, and
/// PostgreSQL does not start where it cannot set its socket's, which is private by its umask already.
const IDLE: &[i64] = &[libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchmodat2];
#[cfg(target_arch = "x86_64")]
const IDLE_OLD: &[i64] = &[libc::SYS_chmod];
#[cfg(not(target_arch = "x86_64"))]
const IDLE_OLD: &[i64] = &[];

/// Newer than the crate's table; calls from 424 on have the same number on every architecture.
const SETXATTRAT: i64 = 463;
const REMOVEXATTRAT: i64 = 466;

/// `clone(2)`'s flags that make namespaces: mount, cgroup, UTS, IPC, user, PID, network.
const NAMESPACES: [u64; 7] = [
    0x0002_0000,
    0x0200_0000,
    0x0400_0000,
    0x0800_0000,
    0x1000_0000,
    0x2000_0000,
    0x4000_0000,
];

/// On x86-64 the same kernel answers a second table of calls under this bit, with some numbers of its own, and the architecture that a
/// filter sees is the same: nothing that is built today uses it.
#[cfg(target_arch = "x86_64")]
const SECOND_TABLE: std::ops::Range<i64> = 0x4000_0000..0x4000_0000 + 600;
#[cfg(not(target_arch = "x86_64"))]
const SECOND_TABLE: std::ops::Range<i64> = 0..0;

/// Forbids the calling thread, and what it starts, all of the above. A call of another architecture (32 bits) ends the program.
pub(super) fn forbid() -> Result<(), seccompiler::Error> {
    let mut refused = always(&[REFUSED, REFUSED_OLD]);
    refused.extend(SECOND_TABLE.map(|call| (call, Vec::new())));
    refused.extend(conditional()?);
    for (rules, errno) in [
        (refused, libc::EPERM),
        (always(&[ABSENT]), libc::ENOSYS),
        (always(&[IDLE, IDLE_OLD]), 0),
    ] {
        let architecture: TargetArch = std::env::consts::ARCH.try_into()?;
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Errno(errno.unsigned_abs()),
            architecture,
        )?;
        let program: BpfProgram = filter.try_into()?;
        apply_filter(&program)?;
    }
    Ok(())
}

fn always(lists: &[&[i64]]) -> BTreeMap<i64, Vec<SeccompRule>> {
    lists
        .iter()
        .flat_map(|list| list.iter())
        .map(|call| (*call, Vec::new()))
        .collect()
}

/// Calls that are refused by their arguments.
fn conditional() -> Result<[(i64, Vec<SeccompRule>); 4], BackendError> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{MaskedEq, Ne};
    let when = |argument, length, compare, value| {
        SeccompRule::new(vec![SeccompCondition::new(
            argument, length, compare, value,
        )?])
    };
    let unix = u64::from(libc::AF_UNIX.unsigned_abs());
    Ok([
        // Internet, netlink, raw, packet: everything but a Unix socket.
        (libc::SYS_socket, vec![when(0, Dword, Ne, unix)?]),
        // To an address; without one it is `send`.
        (libc::SYS_sendto, vec![when(4, Qword, Ne, 0)?]),
        // Of another process.
        (libc::SYS_prlimit64, vec![when(0, Dword, Ne, 0)?]),
        (
            libc::SYS_clone,
            NAMESPACES
                .iter()
                .map(|flag| when(0, Qword, MaskedEq(*flag), *flag))
                .collect::<Result<_, _>>()?,
        ),
    ])
}
