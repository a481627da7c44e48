/*
 * Options, child processes and the commands of the driver. See load.h for the whole.
 *
 * Commands on standard input, one JSON line each on standard output:
 *   open TIMEOUT_S                        start opening; answers when all are connected or time is up
 *   wait SEQ SENT_NS COUNT TIMEOUT_S      until COUNT connections have SEQ; latencies from SENT_NS
 *   back SINCE_NS TIMEOUT_S               until all connections are up again after a kill at SINCE_NS
 *   totals                                counters since the start
 *   quit                                  (or end of input, or --max-seconds)
 * Times are CLOCK_MONOTONIC nanoseconds: Python's time.monotonic_ns() on the same machine.
 */
#include "load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct options options = {
    .connections = 100,
    .processes = 1,
    .path = "/",
    .host = "127.0.0.1",
    .window = 256,
    .browsers = 200,
    .per_source = 250,
    .retry_ms = 1000,
    .connect_seconds = 20,
    .max_seconds = 600,
    .seed = 1,
};
static struct shared *shared;
static pid_t children[MAX_PROCESSES];

static void refuse(const char *why, const char *what)
{
    fprintf(stderr, "load: %s: %s\n", why, what);
    exit(2);
}

/* ---- options ------------------------------------------------------------------------------------ */

static void add_target(const char *text)
{
    char host[64], *colon;
    struct sockaddr_in *target = &options.targets[options.target_count];
    int port;

    if (options.target_count == MAX_TARGETS || strlen(text) >= sizeof host)
        refuse("too many or too long", text);
    strcpy(host, text);
    colon = strchr(host, ':');
    port = colon ? atoi(colon + 1) : 0;
    if (colon)
        *colon = 0;
    target->sin_family = AF_INET;
    target->sin_port = htons((uint16_t)port);
    if (port < 1 || port > 65535 || inet_pton(AF_INET, host, &target->sin_addr) != 1)
        refuse("not ADDRESS:PORT", text);
    /* This program can open a quarter of a million connections: never towards anybody else. */
    if (ntohl(target->sin_addr.s_addr) >> 24 != 127)
        refuse("only 127.0.0.0/8 is a target", text);
    options.target_count++;
}

static int number_between(const char *text, const char *name, int low, int high)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (*end || end == text || value < low || value > high) {
        fprintf(stderr, "load: --%s must be %d to %d, not %s\n", name, low, high, text);
        exit(2);
    }
    return (int)value;
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"connections", 1, 0, 'n'},      {"processes", 1, 0, 'p'},  {"target", 1, 0, 't'},
        {"path", 1, 0, 'u'},             {"host", 1, 0, 'h'},       {"mark", 1, 0, 'm'},
        {"resume", 0, 0, 'r'},           {"window", 1, 0, 'w'},     {"reconnect-window", 1, 0, 'W'},
        {"rate", 1, 0, 'R'},             {"per-source", 1, 0, 's'}, {"retry-ms", 1, 0, 'y'},
        {"connect-seconds", 1, 0, 'c'},  {"max-seconds", 1, 0, 'x'}, {"seed", 1, 0, 'S'},
        {"browsers", 1, 0, 'b'},         {"match", 1, 0, 'M'},
        {0, 0, 0, 0},
    };
    int option, at;

    while ((option = getopt_long(argc, argv, "", known, &at)) != -1) {
        switch (option) {
        case 'n': options.connections = number_between(optarg, known[at].name, 1, MAX_CONNECTIONS); break;
        case 'p': options.processes = number_between(optarg, known[at].name, 1, MAX_PROCESSES); break;
        case 't': add_target(optarg); break;
        case 'u': options.path = optarg; break;
        case 'h': options.host = optarg; break;
        case 'm': options.mark = optarg; break;
        case 'M': options.match = optarg; break;
        case 'r': options.resume = true; break;
        case 'w': options.window = number_between(optarg, known[at].name, 1, MAX_PER_PROCESS); break;
        case 'W': options.reconnect_window = number_between(optarg, known[at].name, 0, MAX_PER_PROCESS); break;
        case 'R': options.rate = number_between(optarg, known[at].name, 0, 1000000); break;
        case 'b': options.browsers = number_between(optarg, known[at].name, 1, MAX_CONNECTIONS); break;
        case 's': options.per_source = number_between(optarg, known[at].name, 1, 20000); break;
        case 'y': options.retry_ms = number_between(optarg, known[at].name, 1, 60000); break;
        case 'c': options.connect_seconds = number_between(optarg, known[at].name, 1, 300); break;
        case 'x': options.max_seconds = number_between(optarg, known[at].name, 1, MAX_SECONDS); break;
        case 'S': options.seed = (uint64_t)number_between(optarg, known[at].name, 1, 1 << 30); break;
        default: exit(2);
        }
    }
    if (optind < argc)
        refuse("unknown argument", argv[optind]);
    if (!options.target_count)
        refuse("missing", "--target 127.0.0.1:PORT");
    if (strlen(options.path) + strlen(options.host) > 800)
        refuse("too long", "--path and --host together");
    if (options.connections < options.processes)
        options.processes = options.connections;
    if ((options.connections + options.processes - 1) / options.processes > MAX_PER_PROCESS)
        refuse("too many connections for one process", "use more --processes");
}

/* ---- waiting on the children's counters --------------------------------------------------------- */

static void pause_ms(int ms)
{
    struct timespec time = {.tv_nsec = ms * 1000000L};

    nanosleep(&time, NULL);
}

static uint64_t deadline(double seconds)
{
    return now_ns() + (uint64_t)(seconds * 1e9);
}

static uint32_t live_count(uint64_t *last_live_ns)
{
    uint32_t sum = 0;

    *last_live_ns = 0;
    for (int i = 0; i < options.processes; i++) {
        uint64_t last;

        sum += shared->children[i].live;
        last = shared->children[i].last_live_ns;
        if (last > *last_live_ns)
            *last_live_ns = last;
    }
    return sum;
}

static uint64_t lost_count(void)
{
    uint64_t sum = 0;

    for (int i = 0; i < options.processes; i++)
        sum += shared->children[i].lost;
    return sum;
}

static void open_all(double timeout_s)
{
    uint64_t start = now_ns(), end = deadline(timeout_s), last;
    uint32_t live;

    shared->opening = true;
    while ((live = live_count(&last)) < (uint32_t)options.connections && now_ns() < end)
        pause_ms(5);
    printf("{\"connected\":%u,\"seconds\":%.3f}\n", live, last > start ? (double)(last - start) / 1e9 : 0.0);
}

static void wait_event(uint64_t seq, uint64_t sent_ns, uint32_t count, double timeout_s)
{
    uint64_t end = deadline(timeout_s);

    while (delivered(shared, options.processes, seq) < count && now_ns() < end)
        pause_ms(2);
    print_event(shared, options.processes, seq, sent_ns);
}

/*
 * A dying process closes its sockets one after the other, and the first viewers may be back before the last has
 * noticed: all must stay connected for a while before it is believed. The time told is that of the last return.
 */
static void wait_back(uint64_t since_ns, double timeout_s)
{
    uint64_t end = deadline(timeout_s), last, settled_ns = 0, lost = 0;
    uint32_t live = 0;

    while (now_ns() < end) {
        uint64_t now = now_ns();

        live = live_count(&last);
        if (live < (uint32_t)options.connections || lost_count() != lost || last < since_ns) {
            lost = lost_count();
            settled_ns = 0;
        } else if (!settled_ns) {
            settled_ns = now;
        } else if (now > settled_ns + 1000000000ULL) {
            break;
        }
        pause_ms(5);
    }
    live = live_count(&last);
    printf("{\"live\":%u,\"lost\":%llu,\"seconds\":%.3f}\n", live, (unsigned long long)lost_count(),
           last > since_ns ? (double)(last - since_ns) / 1e9 : 0.0);
}

/* ---- main --------------------------------------------------------------------------------------- */

static void start_children(void)
{
    size_t size = sizeof *shared + (size_t)options.processes * sizeof shared->children[0];

    shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        refuse("no memory", "shared tables");
    for (int i = 0; i < options.processes; i++) {
        children[i] = fork();
        if (children[i] < 0)
            refuse("fork", "failed");
        if (!children[i]) {
            run_child(&options, shared, i);
            _exit(0);
        }
    }
}

static void stop_children(void)
{
    for (int i = 0; i < options.processes; i++)
        kill(children[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    char line[256];

    read_options(argc, argv);
    raise_descriptor_limit();
    /* Whatever the driver does: SIGALRM ends this process, and PR_SET_PDEATHSIG the children with it. */
    alarm((unsigned)options.max_seconds);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    start_children();
    setlinebuf(stdout);
    while (fgets(line, sizeof line, stdin)) {
        unsigned long long seq, ns;
        unsigned count;
        double seconds;

        if (sscanf(line, "open %lf", &seconds) == 1)
            open_all(seconds);
        else if (sscanf(line, "wait %llu %llu %u %lf", &seq, &ns, &count, &seconds) == 4)
            wait_event(seq, ns, count, seconds);
        else if (sscanf(line, "back %llu %lf", &ns, &seconds) == 2)
            wait_back(ns, seconds);
        else if (!strncmp(line, "totals", 6))
            print_totals(shared, options.processes);
        else if (!strncmp(line, "quit", 4))
            break;
        else
            printf("{\"error\":\"unknown command\"}\n");
    }
    stop_children();
    return 0;
}
