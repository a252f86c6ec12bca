/*
 * tests/bench/flood.c - clients that mean no good, for the rows of rows_floods.py.
 *
 *     flood [options] MODE PORT             --help names both
 *
 * Whatever the server ends is begun anew. Prints {"ready": SECONDS} when all connections have been
 * made, and goes on. For each line of its standard input it prints what it has done so far; it ends
 * with its input. Several processes (--processes) share what is asked for.
 */
#include "base/num.h"
#include "core/table.h"
#include "shm/region.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: flood [options] MODE PORT\n"
    "  idle         connections that ask for nothing\n"
    "  loris        each sends a byte of a request a second\n"
    "  readers      each asks for `stats` and reads 4 KiB of the answer, ten times a second\n"
    "  churn        opens connections and closes them at once, as fast as it can\n"
    "  keys         each acquires and releases keys that nobody has named before, as fast as it can\n"
    "  full         each holds its share of --locks keys and asks for more, as fast as it can; as many\n"
    "               connections again wait for the first key, or hear that they may not\n"
    "  strangers    each asks without the secret, hears no, leaves, and comes again a second later\n"
    "  guessers     each tries a secret, hears no, leaves, and comes again at once\n"
    "  --connections N   in all, default 100\n"
    "  --processes N     default 1\n"
    "  --locks N         default 1000 (full)\n"
    "  --one-shard PID   looks into the region of that server, and has keys of one shard only (keys)\n"
    "  --dial            connects all the time as well, as churn does\n"
    "  --behind          takes only processor time that nobody else wants\n";

enum {
    EVENTS = 256,
    WINDOW = 32,      /* requests of one connection without an answer */
    REQUEST_MAX = 96, /* bytes */
    READ_BYTES = 4096,
    LORIS_NS = 1000000000,
    READ_NS = 100000000,
    DIALS_A_TURN = 64,
};

#define SEC INT64_C(1000000000)

enum what { IDLE, LORIS, READERS, CHURN, KEYS, FULL, STRANGERS, GUESSERS, MODES };
static const char *const mode_name[MODES] = {"idle", "loris", "readers",   "churn",
                                             "keys", "full",  "strangers", "guessers"};

/* What all processes have done. */
struct done {
    _Atomic uint64_t ready; /* connections that were there when it began */
    _Atomic uint64_t dialled, ended, answers, granted, refused, bytes;
};

struct lock {
    uint64_t key;
    char token[33];
};

struct client {
    int fd; /* -1: to be opened anew */
    bool asks; /* full: for new keys; else it waits */
    bool releases; /* keys: this window's requests are releases */
    uint32_t under_way; /* requests without an answer */
    uint32_t sent; /* loris: bytes so far */
    uint32_t n; /* bytes of a line that is not whole */
    char in[64];
    struct lock *lock; /* WINDOW of them; keys, full */
};

static struct done *done;
static struct client *clients;
static enum what mode = MODES;
static uint32_t nclients, locks = 1000, process;
static uint64_t next_key, held;
static struct sockaddr_in server;
static struct siphash_key hash;
static bool aims, dials, behind;
static int epfd;

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SEC + t.tv_nsec;
}

static void give_up(const char *what)
{
    fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- connections */

/* From one address after another: the ports of one are used up soon. -1: not now. */
static int dial(void)
{
    static uint32_t count;
    struct sockaddr_in own = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1,
        small = READ_BYTES;

    if (fd < 0)
        return -1;
    own.sin_addr.s_addr = htonl(127u << 24 | 2u << 16 | (process & 255) << 8 | count++ % 250 | 1);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (mode == READERS)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    if (bind(fd, (const struct sockaddr *)&own, sizeof(own)) < 0 ||
        (connect(fd, (const struct sockaddr *)&server, sizeof(server)) < 0 && errno != EINPROGRESS)) {
        close(fd);
        return -1;
    }
    done->dialled++;
    return fd;
}

static void open_client(uint32_t i)
{
    struct client *c = &clients[i];
    /* Edge-triggered, for slow readers leave lying what has come. */
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u32 = i};

    c->fd = dial();
    c->n = c->sent = c->under_way = 0;
    c->releases = false;
    if (c->fd >= 0 && epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &ev) < 0)
        give_up("epoll_ctl");
}

static void close_client(uint32_t i)
{
    struct client *c = &clients[i];

    done->ended++;
    close(c->fd);
    c->fd = -1;
}

static void churn(void)
{
    for (unsigned i = 0; i < DIALS_A_TURN; i++) {
        int fd = dial();

        if (fd >= 0)
            close(fd);
    }
}

/* --- what they say */

static void say(struct client *c, const char *text, size_t n)
{
    /* What a socket does not take is lost, and the connection with it. */
    if (send(c->fd, text, n, MSG_NOSIGNAL) != (ssize_t)n)
        shutdown(c->fd, SHUT_RDWR);
}

static int name_key(char *key, uint64_t n)
{
    return sprintf(key, "flood-%02u-%016llx", process, (unsigned long long)n);
}

/* The next key; of the chosen shard, if the server's hash is known. */
static uint64_t fresh_key(void)
{
    char key[48];

    while (aims && table_shard_of(siphash24(&hash, key, (size_t)name_key(key, next_key))) != 0)
        next_key++;
    return next_key++;
}

static void ask_window(struct client *c)
{
    char text[WINDOW * REQUEST_MAX], key[48];
    size_t n = 0;

    for (unsigned i = 0; i < WINDOW; i++) {
        struct lock *l = &c->lock[i];

        if (!c->releases)
            l->key = fresh_key();
        name_key(key, l->key);
        if (c->releases)
            n += (size_t)snprintf(text + n, REQUEST_MAX, "r\n%s\n%s\n", key, l->token);
        else
            n += (size_t)snprintf(text + n, REQUEST_MAX, "l\n%s\n0 3600\n", key);
    }
    c->under_way = WINDOW;
    say(c, text, n);
}

/* What a connection says first, once it is there, and when all is answered. */
static void ask(struct client *c)
{
    static const char wait[] = "l\nflood-00-0000000000000000\n3600 3600\n";

    switch (mode) {
    case READERS:
        c->under_way = 1;
        say(c, "stats\n\n\n", 8);
        break;
    case STRANGERS:
        c->under_way = 1;
        say(c, "ping\n\n\n", 7);
        break;
    case GUESSERS:
        c->under_way = 1;
        say(c, "auth\n\nopen sesame\n", 18);
        break;
    case KEYS:
        ask_window(c);
        break;
    case FULL:
        if (c->asks) {
            ask_window(c);
        } else {
            c->under_way = 1;
            say(c, wait, sizeof(wait) - 1);
        }
        break;
    default:
        break;
    }
}

/* --- what they hear */

static void line(struct client *c, const char *text, size_t n)
{
    done->answers++;
    c->under_way -= c->under_way > 0;
    if (n > 35 && memcmp(text, "ok ", 3) == 0) {
        done->granted++;
        held++;
        if (mode == KEYS)
            memcpy(c->lock[WINDOW - 1 - c->under_way].token, text + 3, 32);
    } else if (n >= 5 && memcmp(text, "error", 5) == 0) {
        done->refused++;
    }
    if (mode == STRANGERS || mode == GUESSERS)
        shutdown(c->fd, SHUT_RDWR);
    if (c->under_way > 0 || mode == STRANGERS || mode == GUESSERS)
        return;
    if (mode == KEYS)
        c->releases = !c->releases;
    ask(c);
}

/* False: the connection has ended. */
static bool hear(struct client *c)
{
    char text[1 << 14];

    for (;;) {
        ssize_t got;
        char *at = text, *lf;

        memcpy(text, c->in, c->n);
        got = recv(c->fd, text + c->n, sizeof(text) - c->n, 0);
        if (got <= 0)
            return got < 0 && errno == EAGAIN;
        done->bytes += (uint64_t)got;
        got += c->n;
        while ((lf = memchr(at, '\n', (size_t)(text + got - at))) != NULL) {
            line(c, at, (size_t)(lf - at));
            at = lf + 1;
        }
        c->n = (uint32_t)(text + got - at);
        if (c->n > sizeof(c->in))
            return false;
        memcpy(c->in, at, c->n);
    }
}

static void read_a_little(struct client *c)
{
    char text[READ_BYTES];
    ssize_t got = recv(c->fd, text, sizeof(text), 0);

    if (got <= 0)
        return;
    done->bytes += (uint64_t)got;
    if (text[got - 1] == '\n') {
        done->answers++;
        ask(c);
    }
}

/* Once in each interval. */
static void poke(uint32_t i)
{
    static const char request[] = "l\nloris\n0 3600\n";
    struct client *c = &clients[i];

    if (c->fd < 0) {
        open_client(i);
        if (c->fd >= 0)
            ask(c);
    } else if (mode == LORIS) {
        say(c, &request[c->sent++ % (sizeof(request) - 2)], 1); /* never its end */
    } else if (mode == READERS) {
        read_a_little(c);
    }
}

static void event(uint32_t i, uint32_t events)
{
    struct client *c = &clients[i];
    bool over = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);

    if (c->fd < 0)
        return;
    if (mode != READERS && !hear(c))
        over = true;
    if (!over)
        return;
    close_client(i);
    if (mode == GUESSERS)
        poke(i);
}

/* --- a process */

static bool greedy(void)
{
    return mode == CHURN || dials;
}

static void run(void)
{
    struct epoll_event ev[EVENTS];
    int64_t interval = mode == READERS ? READ_NS : LORIS_NS, began = now();
    uint64_t poked = 0;

    for (;;) {
        int n = epoll_wait(epfd, ev, EVENTS, greedy() ? 0 : 1);
        uint64_t due;

        for (int i = 0; i < n; i++)
            event(ev[i].data.u32, ev[i].events);
        if (greedy())
            churn();
        due = nclients ? (uint64_t)((double)(now() - began) * nclients / (double)interval) : 0;
        for (; poked < due; poked++)
            poke((uint32_t)(poked % nclients));
    }
}

/* Connections wait in the listener's queue if they come too fast; nobody is lost. */
static void open_all(void)
{
    for (uint32_t i = 0; i < nclients; i++) {
        struct client *c = &clients[i];

        c->asks = mode == FULL && i < (nclients + 1) / 2;
        if (mode == KEYS || mode == FULL)
            c->lock = calloc(WINDOW, sizeof(*c->lock));
        open_client(i);
        if (c->fd < 0)
            give_up("connect");
        done->ready++;
        if (i % 64 == 63)
            usleep(2000);
    }
}

/* All locks of this process's part, a window at a time. */
static void hold(uint64_t want)
{
    for (uint32_t i = 0; i < nclients; i++)
        clients[i].asks ? ask(&clients[i]) : (void)0;
    while (held < want) {
        struct epoll_event ev[EVENTS];
        int n = epoll_wait(epfd, ev, EVENTS, 10000);
        uint64_t refused = done->refused;

        if (n <= 0)
            give_up("no answer");
        for (int i = 0; i < n; i++)
            event(ev[i].data.u32, ev[i].events);
        if (done->refused > refused)
            break; /* the table is full */
    }
    for (uint32_t i = 0; i < nclients; i++)
        clients[i].asks ? (void)0 : ask(&clients[i]);
}

static void be_process(uint32_t share, uint32_t lock_share, _Atomic uint32_t *ready)
{
    struct sched_param least = {0};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (behind && sched_setscheduler(0, SCHED_IDLE, &least) < 0)
        give_up("SCHED_IDLE");
    nclients = mode == CHURN ? 0 : share;
    clients = calloc(nclients + 1, sizeof(*clients));
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || epfd < 0)
        give_up("memory");
    open_all();
    if (mode == FULL)
        hold(lock_share);
    else
        for (uint32_t i = 0; i < nclients; i++)
            ask(&clients[i]);
    (*ready)++;
    run();
}

/* --- the whole */

static uint32_t number(const char *option, const char *text, uint32_t most)
{
    int64_t n;

    if (num_parse_i64(text, strlen(text), &n) != 0 || n < 1 || n > most) {
        fprintf(stderr, "flood: %s \"%s\": must be a number from 1 to %u; --help names the options\n",
                option, text, most);
        exit(2);
    }
    return (uint32_t)n;
}

/* What no client can know: the seed of the server's hash. */
static void steal_hash(uint32_t pid)
{
    char path[64], magic[sizeof(REGION_MAGIC)] = "";

    for (int i = 3; i < 64 && !aims; i++) {
        int fd;

        snprintf(path, sizeof(path), "/proc/%u/fd/%d", pid, i);
        fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
            continue;
        aims = pread(fd, magic, sizeof(magic) - 1, 0) > 0 && strcmp(magic, REGION_MAGIC) == 0 &&
               pread(fd, &hash, sizeof(hash), offsetof(struct region, hash_key)) == sizeof(hash);
        close(fd);
    }
    if (!aims)
        give_up("the server's region");
}

static void parse(int argc, char **argv, uint32_t *connections, uint32_t *processes)
{
    static const struct option names[] = {{"connections", required_argument, NULL, 'c'},
                                          {"processes", required_argument, NULL, 'p'},
                                          {"locks", required_argument, NULL, 'l'},
                                          {"one-shard", required_argument, NULL, 'k'},
                                          {"dial", no_argument, NULL, 'd'},
                                          {"behind", no_argument, NULL, 'b'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    int c;

    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (c == 'c') {
            *connections = number("--connections", optarg, 60000);
        } else if (c == 'p') {
            *processes = number("--processes", optarg, 64);
        } else if (c == 'l') {
            locks = number("--locks", optarg, 100000000);
        } else if (c == 'k') {
            steal_hash(number("--one-shard", optarg, INT32_MAX));
        } else if (c == 'd') {
            dials = true;
        } else if (c == 'b') {
            behind = true;
        } else {
            fputs(usage, c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
    }
    for (mode = IDLE; mode < MODES && argc - optind == 2; mode++)
        if (strcmp(mode_name[mode], argv[optind]) == 0)
            break;
    if (argc - optind != 2 || mode == MODES) {
        fputs(usage, stderr);
        exit(2);
    }
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    server.sin_port = htons((uint16_t)number("PORT", argv[optind + 1], 65535));
}

static void report(void)
{
    printf("{\"dialled\": %llu, \"ended\": %llu, \"answers\": %llu, \"granted\": %llu, "
           "\"refused\": %llu, \"bytes\": %llu}\n",
           (unsigned long long)done->dialled, (unsigned long long)done->ended,
           (unsigned long long)done->answers, (unsigned long long)done->granted,
           (unsigned long long)done->refused, (unsigned long long)done->bytes);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint32_t connections = 100, processes = 1;
    _Atomic uint32_t *ready;
    struct rlimit files;
    int64_t began = now();
    char text[16];

    parse(argc, argv, &connections, &processes);
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (done == MAP_FAILED)
        give_up("memory");
    ready = (_Atomic uint32_t *)(done + 1);
    for (process = 0; process < processes; process++)
        if (fork() == 0) {
            be_process((connections - process + processes - 1) / processes,
                       (locks - process + processes - 1) / processes, ready);
        }
    while (*ready < processes) {
        if (waitpid(-1, NULL, WNOHANG) > 0)
            return 1; /* it has said why */
        if (now() > began + 60 * SEC) {
            errno = ETIMEDOUT;
            give_up("not all connections were made");
        }
        usleep(1000);
    }
    printf("{\"ready\": %.3f}\n", (double)(now() - began) / (double)SEC);
    fflush(stdout);
    while (fgets(text, sizeof(text), stdin))
        report();
    return 0;
}
