/*
 * base/confine.c - see confine.h. The only user of libseccomp; Landlock has no library.
 */
#include "base/confine.h"

#include "base/point.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The calls of 32-bit machines have other names: nobody has made that list. */
#if defined(HAVE_SECCOMP) && UINTPTR_MAX > UINT32_MAX
#define FILTER 1
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#else
#define FILTER 0
#endif

/* A sanitizer needs calls and files of its own: for its reports, and to look for leaks. */
#if defined(WITH_SANITIZERS) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { LOCKED_OUT = 1 };
#else
enum { LOCKED_OUT = 0 };
#endif

#ifdef SYS_landlock_create_ruleset

/* The kernel's struct landlock_ruleset_attr. Headers may be older than the kernel that runs. */
struct ruleset {
    uint64_t fs, net, scoped;
};

/* Everything that this version of Landlock can deny. */
static struct ruleset all_of(int version)
{
    static const unsigned fs_bits[] = {[1] = 13, [2] = 14, [3] = 15, [4] = 15, [5] = 16};
    const int last = sizeof(fs_bits) / sizeof(fs_bits[0]) - 1;

    return (struct ruleset){
        .fs = (UINT64_C(1) << fs_bits[version < last ? version : last]) - 1,
        .net = version >= 4 ? 3 : 0,    /* bind, connect */
        .scoped = version >= 6 ? 3 : 0, /* abstract Unix sockets, signals */
    };
}

int confine_paths(void)
{
    enum { ASK_VERSION = 1 };
    struct ruleset rules;
    int version, fd, err;

    if (LOCKED_OUT)
        return -ENOTSUP;
    version = (int)SYS(CONFINE_VERSION,
                       syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, ASK_VERSION));
    if (version < 1)
        return version < 0 ? -errno : -ENOSYS;
    rules = all_of(version);
    fd = (int)SYS(CONFINE_RULES,
                  syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0));
    if (fd < 0)
        return -errno;
    err = SYS(CONFINE_PATHS, syscall(SYS_landlock_restrict_self, fd, 0)) < 0 ? -errno : version;
    SYS(CONFINE_CLOSE, close(fd));
    return err;
}

#else

int confine_paths(void)
{
    return -ENOSYS;
}

#endif

#if FILTER

/* What the C library does for any program, an abort() included, and in the first moments of a
   thread that was started just before. Memory is never executable. */
static const struct confine_call common[] = {
    {.name = "brk"},
    {.name = "clock_gettime"},
    {.name = "clock_nanosleep"},
    {.name = "exit"},
    {.name = "exit_group"},
    {.name = "futex"},
    {.name = "getegid"},
    {.name = "geteuid"},
    {.name = "getgid"},
    {.name = "getpid"},
    {.name = "getrandom"},
    {.name = "gettid"},
    {.name = "getuid"},
    {.name = "madvise"},
    {.name = "mmap", .arg = {{.n = 3, .mask = PROT_EXEC}}},
    {.name = "mprotect", .arg = {{.n = 3, .mask = PROT_EXEC}}},
    {.name = "mremap"},
    {.name = "munmap"},
    {.name = "nanosleep"},
    {.name = "restart_syscall"},
    {.name = "rseq"},
    {.name = "rt_sigaction"},
    {.name = "rt_sigprocmask"},
    {.name = "rt_sigreturn"},
    {.name = "sched_yield"},
    {.name = "set_robust_list"},
    {.name = "sysinfo"}, /* qsort(): how much memory may it use? */
    {.name = "write"},
    {.name = "writev"},
};

static int allow(scmp_filter_ctx filter, const struct confine_call *call)
{
    int number = seccomp_syscall_resolve_name(call->name);
    struct scmp_arg_cmp arg[2];
    unsigned n = 0;
    int err;

    if (number == __NR_SCMP_ERROR)
        return 0;
    for (; n < 2 && call->arg[n].n; n++)
        arg[n] = (struct scmp_arg_cmp){.arg = call->arg[n].n - 1,
                                       .op = SCMP_CMP_MASKED_EQ,
                                       .datum_a = call->arg[n].mask,
                                       .datum_b = call->arg[n].value};
    err = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, n, arg);
    return err == -EDOM ? 0 : err; /* another architecture's */
}

static int add_all(scmp_filter_ctx filter, const struct confine_call *calls, size_t n)
{
    int err = 0;

    for (size_t i = 0; !err && i < n; i++)
        err = allow(filter, &calls[i]);
    return err;
}

/* What the program says of a system call, as the kernel would run it. */
static uint32_t verdict(const struct sock_fprog *program, const struct seccomp_data *data)
{
    uint32_t a = 0;

    for (size_t i = 0; i < program->len; i++) {
        const struct sock_filter *f = &program->filter[i];

        switch (f->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (f->k > sizeof(*data) - sizeof(a))
                return SECCOMP_RET_KILL_PROCESS;
            memcpy(&a, (const char *)data + f->k, sizeof(a));
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= f->k;
            break;
        case BPF_JMP | BPF_JA:
            i += f->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            i += a == f->k ? f->jt : f->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            i += a >= f->k ? f->jt : f->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            i += a > f->k ? f->jt : f->jf;
            break;
        case BPF_RET | BPF_K:
            return f->k;
        default:
            return SECCOMP_RET_KILL_PROCESS;
        }
    }
    return SECCOMP_RET_KILL_PROCESS;
}

static bool allows(const struct sock_fprog *program, const struct confine_call *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct seccomp_data data = {.nr = seccomp_syscall_resolve_name(calls[i].name),
                                    .arch = seccomp_arch_native()};

        for (unsigned k = 0; k < 2 && calls[i].arg[k].n; k++)
            data.args[calls[i].arg[k].n - 1] = calls[i].arg[k].value;
        /* Below 0: this machine has no such call. */
        if (data.nr >= 0 && verdict(program, &data) != SECCOMP_RET_ALLOW)
            return false;
    }
    return true;
}

static int write_program(scmp_filter_ctx filter, struct sock_fprog *out, size_t room)
{
    int fd = SYS(CONFINE_PROGRAM, memfd_create("dflockd-filter", MFD_CLOEXEC));
    ssize_t bytes = 0;
    int err;

    if (fd < 0)
        return -errno;
    err = seccomp_export_bpf(filter, fd);
    if (!err) {
        bytes = SYS(CONFINE_READ, pread(fd, out->filter, room, 0));
        err = bytes < 0 ? -errno : 0;
    }
    SYS(CONFINE_DROP, close(fd));
    out->len = (unsigned short)((size_t)bytes / sizeof(*out->filter));
    return err == -EFAULT ? -ENOMEM : err; /* libseccomp's word for whatever it failed at */
}

/*
 * libseccomp (2.5) that runs out of memory may leave rules out, or all of them, and say nothing: the
 * process would live on and be denied what it needs. So its program is tried before it is in force.
 */
static int load(scmp_filter_ctx filter, const struct confine_call *calls, size_t n)
{
    static struct sock_filter code[BPF_MAXINSNS];
    struct sock_fprog program = {.filter = code};
    int err = write_program(filter, &program, sizeof(code));

    if (!err && (!allows(&program, common, sizeof(common) / sizeof(common[0])) ||
                 !allows(&program, calls, n)))
        err = -ENOMEM;
    if (err)
        return err;
    err = (int)SYS(CONFINE_CALLS, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                          SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG,
                                          &program));
    if (err > 0)
        return -ESRCH; /* a thread that has another filter */
    return err < 0 ? -errno : 0;
}

int confine_calls(const struct confine_call *calls, size_t n)
{
    uint32_t otherwise = SCMP_ACT_ERRNO(ENOSYS);
    const struct confine_call own_signals = {"tgkill", {CONFINE_IS(1, (uint64_t)getpid())}};
    scmp_filter_ctx filter;
    int err;

    if (LOCKED_OUT || POINT_DENIED() == POINT_DENIED_NEVER)
        return -ENOTSUP;
    if (POINT_DENIED() == POINT_DENIED_KILLS)
        otherwise = SCMP_ACT_KILL_PROCESS;
    filter = seccomp_init(otherwise);
    if (!filter)
        return -ENOMEM;
    err = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, otherwise);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* only a wish: fewer instructions */
    if (!err)
        err = add_all(filter, common, sizeof(common) / sizeof(common[0]));
    if (!err)
        err = allow(filter, &own_signals);
    if (!err)
        err = add_all(filter, calls, n);
    if (!err)
        err = load(filter, calls, n);
    seccomp_release(filter);
    return err;
}

#else

int confine_calls(const struct confine_call *calls, size_t n)
{
    (void)calls;
    (void)n;
    return -ENOSYS;
}

#endif
