/* Runs a program and lets its Nth system call of some kinds fail, fall short, or be its last.
 *
 *   fault KINDS ACTION NTH REPORT DIR[:DIR...] PROGRAM ARGUMENT...
 *
 * KINDS   words of `calls` below, joined by commas; with `bare` among them, renames know no flags, as on file systems of old
 * ACTION  hold (while a file REPORT.hold is there, calls are not answered, and REPORT.held has how many; NTH is 0), kill (before the call, the program alone, not its children), short (a read or write of half the bytes), or a number: the
 *         error that the call returns instead of being made; short and errors with a `+`: every one from the Nth on
 * NTH     1 is the first; 0 is none, to count them
 * DIR     only calls that name a file below one of these count (renames by their old name), or whose descriptor is of such a file
 * REPORT  a file for the result, two lines: how many calls were counted, and the one that was hit
 *
 * It sees calls that bypass the C library, because the kernel asks it: a seccomp filter (seccomp_unotify(2)) around the program and all
 * that it starts. Ends as the program ends; 128 and the signal's number when a signal ended it. Needs no right that a container lacks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where a call names its file: a path as first argument, a directory and a path, or an open file. */
enum where { PATH, AT, OPEN };
static const struct call { const char *kind; int number; enum where where; } calls[] = {
#ifdef SYS_rename
    {"rename", SYS_rename, PATH}, {"mkdir", SYS_mkdir, PATH}, {"remove", SYS_rmdir, PATH}, {"remove", SYS_unlink, PATH},
    {"open", SYS_open, PATH}, {"chown", SYS_chown, PATH}, {"chown", SYS_lchown, PATH}, {"chmod", SYS_chmod, PATH},
    {"link", SYS_symlink, AT}, {"stat", SYS_stat, PATH}, {"stat", SYS_lstat, PATH},
#endif
#ifdef SYS_renameat
    {"rename", SYS_renameat, AT},
#endif
    {"rename", SYS_renameat2, AT}, {"mkdir", SYS_mkdirat, AT}, {"remove", SYS_unlinkat, AT}, {"open", SYS_openat, AT},
    {"link", SYS_linkat, AT}, {"stat", SYS_statx, AT}, {"stat", SYS_newfstatat, AT},
    {"chown", SYS_fchownat, AT}, {"chown", SYS_fchown, OPEN}, {"chmod", SYS_fchmod, OPEN}, {"chmod", SYS_fchmodat, AT},
    {"attribute", SYS_setxattr, PATH}, {"attribute", SYS_lsetxattr, PATH}, {"attribute", SYS_fsetxattr, OPEN},
    {"attributes", SYS_flistxattr, OPEN}, {"attributes", SYS_fgetxattr, OPEN}, {"target", SYS_readlinkat, AT},
    {"access", SYS_faccessat, AT}, {"access", SYS_faccessat2, AT}, {"space", SYS_statfs, PATH},
    {"read", SYS_read, OPEN}, {"read", SYS_pread64, OPEN}, {"write", SYS_write, OPEN}, {"write", SYS_pwrite64, OPEN},
    {"list", SYS_getdents64, OPEN}, {"size", SYS_ftruncate, OPEN}, {"room", SYS_fallocate, OPEN},
    {"sync", SYS_fsync, OPEN}, {"sync", SYS_fdatasync, OPEN}, {"sync", SYS_syncfs, OPEN},
};
/* Threads that can be held at once. */
#define HELD 512
#define CALLS ((int)(sizeof calls / sizeof *calls))

static void die(const char *what) { perror(what); exit(125); }

/* Whether a word is in a list of words. */
static int listed(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += length)
        if ((at == list || at[-1] == ',') && (at[length] == ',' || !at[length])) return 1;
    return 0;
}

/* The filter: calls of these kinds are asked for, all others go on. Its listener. */
static int install(const char *kinds) {
    struct sock_filter code[2 * CALLS + 2];
    int length = 0;
    code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < CALLS; i++) {
        if (!listed(kinds, calls[i].kind)) continue;
        code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i].number, 0, 1);
        code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    }
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {(unsigned short)length, code};
    if (geteuid() != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("prctl");
    int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener < 0) die("seccomp");
    return listener;
}

/* A file descriptor from one process to another (unix(7)); -1 receives. */
static int pass(int socket, int descriptor) {
    char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (descriptor < 0) {
        if (recvmsg(socket, &message, 0) <= 0) exit(125);
        memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof descriptor);
        return descriptor;
    }
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    if (sendmsg(socket, &message, 0) < 0) die("sendmsg");
    return 0;
}

static void link_of(pid_t pid, const char *what, char *into, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/%d/%s", pid, what);
    ssize_t length = readlink(link, into, size - 1);
    into[length < 0 ? 0 : length] = 0;
}

/* The file that a call is about. */
static void file_of(const struct seccomp_notif *asked, const struct call *call, char *file, size_t size) {
    const pid_t pid = (pid_t)asked->pid;
    const __u64 *arguments = asked->data.args;
    char name[4096] = "", directory[4096] = "", descriptor[32];
    snprintf(descriptor, sizeof descriptor, "fd/%d", (int)arguments[0]);
    if (call->where == OPEN) {
        link_of(pid, descriptor, file, size);
        return;
    }
    __u64 address = arguments[call->where == AT];
    /* A page at a time: the next one may not be there. */
    for (size_t have = 0; have < sizeof name - 1 && !memchr(name, 0, have);) {
        size_t part = 4096 - (address + have) % 4096;
        if (part > sizeof name - 1 - have) part = sizeof name - 1 - have;
        struct iovec to = {name + have, part}, from = {(void *)(address + have), part};
        ssize_t got = process_vm_readv(pid, &to, 1, &from, 1, 0);
        if (got <= 0) break;
        have += (size_t)got;
    }
    if (name[0] == '/') {
        snprintf(file, size, "%s", name);
        return;
    }
    link_of(pid, call->where == AT && (int)arguments[0] != AT_FDCWD ? descriptor : "cwd", directory, sizeof directory);
    snprintf(file, size, "%s/%s", directory, name);
}

static int below(const char *directories, const char *file) {
    for (const char *at = directories; *at;) {
        size_t length = strcspn(at, ":");
        if (!strncmp(at, file, length) && (file[length] == '/' || !file[length])) return 1;
        at += length + (at[length] == ':');
    }
    return 0;
}

/* The process that a thread is of. */
static pid_t leader_of(pid_t thread) {
    char status[64], line[256];
    pid_t leader = thread;
    snprintf(status, sizeof status, "/proc/%d/status", thread);
    FILE *lines = fopen(status, "r");
    while (lines && fgets(line, sizeof line, lines)) sscanf(line, "Tgid: %d", &leader);
    if (lines) fclose(lines);
    return leader;
}

/* Makes a read or write of half the bytes in the program's place, on its own open file. What it returns; -errno. */
static long half(const struct seccomp_notif *asked) {
    const __u64 *arguments = asked->data.args;
    size_t bytes = arguments[2] > 1 ? arguments[2] / 2 : arguments[2];
    const pid_t leader = leader_of((pid_t)asked->pid);
    int process = (int)syscall(SYS_pidfd_open, leader, 0);
    int file = (int)syscall(SYS_pidfd_getfd, process, (int)arguments[0], 0);
    char *buffer = malloc(bytes);
    if (process < 0 || file < 0 || !buffer) die("pidfd_getfd");
    struct iovec here = {buffer, bytes}, there = {(void *)arguments[1], bytes};
    long done = -1;
    int number = asked->data.nr;
    if (number == SYS_read || number == SYS_pread64) {
        done = number == SYS_read ? read(file, buffer, bytes) : pread(file, buffer, bytes, (off_t)arguments[3]);
        here.iov_len = there.iov_len = done > 0 ? (size_t)done : 0;
        if (done > 0 && process_vm_writev(leader, &here, 1, &there, 1, 0) != done) die("process_vm_writev");
    } else if (process_vm_readv(leader, &here, 1, &there, 1, 0) == (ssize_t)bytes) {
        done = number == SYS_write ? write(file, buffer, bytes) : pwrite(file, buffer, bytes, (off_t)arguments[3]);
    }
    long result = done < 0 ? -errno : done;
    free(buffer);
    close(file);
    close(process);
    return result;
}

/* A number in a file beside the report. */
static void tell(const char *report, const char *beside, int number) {
    char path[4096];
    snprintf(path, sizeof path, "%s%s", report, beside);
    FILE *file = fopen(path, "w");
    if (!file) return;
    fprintf(file, "%d\n", number);
    fclose(file);
}

int main(int count, char **words) {
    if (count < 7) { fprintf(stderr, "fault KINDS ACTION NTH REPORT DIR[:DIR...] PROGRAM ARGUMENT...\n"); return 125; }
    const char *kinds = words[1], *action = words[2], *report = words[4], *directories = words[5];
    const long nth = atol(words[3]);
    const int on = strchr(action, '+') != NULL;
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets)) die("socketpair");
    /* Signals are for the program, which is in the same process group; this one ends when it does. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    pid_t program = fork();
    if (program < 0) die("fork");
    if (program == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(sockets[0]);
        /* The listener is passed before anything else is asked; sendmsg and close are in no kind. */
        int listener = install(kinds);
        pass(sockets[1], listener);
        close(listener);
        execv(words[6], words + 6);
        die(words[6]);
    }
    close(sockets[1]);
    int listener = pass(sockets[0], -1), status = 0, ended = 0;
    struct seccomp_notif_sizes sizes;
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes)) die("seccomp");
    struct seccomp_notif *asked = calloc(1, sizes.seccomp_notif + sizeof *asked);
    struct seccomp_notif_resp *answer = calloc(1, sizes.seccomp_notif_resp + sizeof *answer);
    long counted = 0;
    const int holds = !strcmp(action, "hold");
    char hold[4096];
    snprintf(hold, sizeof hold, "%s.hold", report);
    __u64 held[HELD];
    int holding = 0;
    char hit[8300] = "";
    for (;;) {
        struct pollfd wait = {listener, POLLIN, 0};
        poll(&wait, 1, ended ? 1000 : 50);
        if (!ended && waitpid(program, &status, WNOHANG) == program) ended = 1;
        if (holding && access(hold, F_OK)) {
            while (holding) {
                struct seccomp_notif_resp go = {.id = held[--holding], .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
                ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &go);
            }
        }
        if (!(wait.revents & POLLIN)) {
            /* Nobody is left who could ask. */
            if (wait.revents & (POLLHUP | POLLERR)) break;
            continue;
        }
        memset(asked, 0, sizes.seccomp_notif);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, asked)) continue;
        const struct call *call = NULL;
        for (int i = 0; i < CALLS && !call; i++)
            if (calls[i].number == asked->data.nr && listed(kinds, calls[i].kind)) call = &calls[i];
        memset(answer, 0, sizes.seccomp_notif_resp);
        answer->id = asked->id;
        answer->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        char file[8200] = "";
        file_of(asked, call, file, sizeof file);
        const int is_flagged = asked->data.nr == SYS_renameat2 && asked->data.args[4] != 0;
        if (holds && holding < HELD && below(directories, file) && !access(hold, F_OK)) {
            if (!hit[0]) snprintf(hit, sizeof hit, "%s %s", call->kind, file);
            held[holding++] = asked->id;
            counted++;
            tell(report, ".held", holding);
            continue;
        }
        if (is_flagged && listed(kinds, "bare")) {
            answer->flags = 0;
            answer->error = -EINVAL;
        } else if (below(directories, file) && (++counted == nth || (on && nth && counted > nth))) {
            if (!hit[0]) snprintf(hit, sizeof hit, "%s %s", call->kind, file);
            if (!strcmp(action, "kill")) {
                kill(program, SIGKILL);
                /* The call is not made: an error is on its way when the signal ends the thread. */
                if (leader_of((pid_t)asked->pid) == program) { answer->flags = 0; answer->error = -EIO; }
            } else if (!strncmp(action, "short", 5)) {
                long done = half(asked);
                answer->flags = 0;
                if (done < 0) answer->error = (int)done; else answer->val = done;
            } else {
                answer->flags = 0;
                answer->error = -atoi(action);
            }
        }
        /* Who asked may have been killed meanwhile. */
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, answer);
    }
    if (!ended) waitpid(program, &status, 0);
    FILE *out = fopen(report, "w");
    if (!out || fprintf(out, "%ld\n%s\n", counted, hit) < 0 || fclose(out)) die(report);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
