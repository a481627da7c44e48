/*
 * Clients of one match on one thread: each long-polls and follows `next`, or reads a stream.
 *
 *   cdn-poller PORT poll|sse PATH CLIENTS PER_SECOND SECONDS
 *
 * PATH is what each asks for first. Only 127.0.0.1 is asked, by at most 9,500 clients for at most 1,500 s.
 * "ready" on standard error: all have connected. At the end one line of JSON on standard output: counters, the
 * addresses that were asked for, refusals by status, and for each seq how late it came, in milliseconds after the log took it (the
 * `a` of a delta). Late is by the wall clock, which all processes of a machine share.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
    MAX_CLIENTS = 9500,
    MAX_SECONDS = 1500,
    INPUT_BYTES = 49152,
    PATH_BYTES = 160,
    SEQS = 128,       /* of the deltas that are timed */
    LATE_MS = 8192,   /* later than that counts as that */
    ADDRESSES = 4096, /* that are told apart */
    SOURCES = 16,     /* 127.0.0.x, so that ports do not run out */
    AGAIN_MS = 1000,  /* after an error */
};

enum phase { CLOSED, CONNECTING, ASKING, RESTING };

struct client {
    int fd;
    enum phase phase;
    uint64_t due_ns; /* RESTING: when it asks again */
    uint64_t seq;
    char path[PATH_BYTES];
    char *input;
    int length;
    bool in_stream;
};

static struct client *clients;
static int client_count, epoll, port, resting;
static bool streams;
static char addresses[ADDRESSES][PATH_BYTES];
static int address_count;
static unsigned late[SEQS][LATE_MS];
static unsigned long refusals[600]; /* by status */
static unsigned long requests, deltas, silences, refused, resets, twice, holes, bytes_in, bytes_out;

static uint64_t clock_ns(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void note_address(const char *path)
{
    /* The newest are asked for most. */
    for (int at = address_count - 1; at >= 0; at--)
        if (!strcmp(addresses[at], path))
            return;
    if (address_count < ADDRESSES)
        strcpy(addresses[address_count++], path);
}

static void rest(struct client *one)
{
    if (one->fd >= 0)
        close(one->fd);
    one->fd = -1;
    one->length = 0;
    one->in_stream = false;
    one->phase = RESTING;
    one->due_ns = clock_ns(CLOCK_MONOTONIC) + AGAIN_MS * 1000000ULL;
    resting++;
}

static void ask(struct client *one)
{
    char request[PATH_BYTES + 128];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", one->path);

    note_address(one->path);
    one->phase = ASKING;
    one->length = 0;
    requests++;
    bytes_out += (unsigned)size;
    if (send(one->fd, request, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT) != size) {
        resets++;
        rest(one);
    }
}

static void open_client(int index)
{
    struct client *one = &clients[index];
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLOUT, .data.u32 = (uint32_t)index};
    int yes = 1;

    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (one->fd < 0) {
        perror("socket");
        exit(1);
    }
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(one->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index % SOURCES));
    if (bind(one->fd, (struct sockaddr *)&address, sizeof address)) {
        perror("bind");
        exit(1);
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    one->phase = CONNECTING;
    if (connect(one->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) {
        resets++;
        rest(one);
        return;
    }
    epoll_ctl(epoll, EPOLL_CTL_ADD, one->fd, &event);
}

/* One delta: its id, and where its JSON begins. */
static void take(struct client *one, uint64_t epoch, uint64_t seq, const char *json, uint64_t wall_ms)
{
    const char *accepted = strstr(json, "\"a\":");

    if (seq <= one->seq) {
        twice++;
        return;
    }
    holes += one->seq && seq != one->seq + 1;
    one->seq = seq;
    deltas++;
    if (accepted && seq < SEQS) {
        uint64_t at_ms = epoch + strtoull(accepted + 4, NULL, 10);
        uint64_t ms = wall_ms > at_ms ? wall_ms - at_ms : 0;

        late[seq][ms < LATE_MS ? ms : LATE_MS - 1]++;
    }
}

/* Deltas of an answer: ["<epoch>-<seq>",{…}] behind each other. */
static void take_answer(struct client *one, const char *body)
{
    uint64_t wall_ms = clock_ns(CLOCK_REALTIME) / 1000000;
    const char *next = strstr(body, "\"next\":{\"id\":\""), *at = strstr(body, "\"deltas\":[");
    unsigned long long epoch, seq, slice;
    bool any = false;
    char *rest_of_path;

    if (!next || !at) {
        refused++;
        rest(one);
        return;
    }
    while ((at = strstr(at, "[\"")) && at < next) {
        if (sscanf(at, "[\"%llu-%llu\",", &epoch, &seq) == 2) {
            take(one, epoch, seq, at, wall_ms);
            any = true;
        }
        at += 2;
    }
    silences += !any;
    if (sscanf(next, "\"next\":{\"id\":\"%llu-%llu\",\"slice\":%llu", &epoch, &seq, &slice) != 3) {
        refused++;
        rest(one);
        return;
    }
    rest_of_path = strstr(one->path, "/deltas/");
    snprintf(rest_of_path, (size_t)(one->path + PATH_BYTES - rest_of_path), "/deltas/%llu-%llu/%llu", epoch, seq,
             slice);
    ask(one);
}

static void take_events(struct client *one)
{
    uint64_t wall_ms = clock_ns(CLOCK_REALTIME) / 1000000;
    char *at = one->input, *end;
    unsigned long long epoch, seq;

    while ((end = strstr(at, "\n\n"))) {
        char *id = strstr(at, "id: ");

        *end = 0;
        if (id && id < end && strstr(at, "event: score") && sscanf(id, "id: %llu-%llu", &epoch, &seq) == 2)
            take(one, epoch, seq, at, wall_ms);
        at = end + 2;
    }
    one->length -= (int)(at - one->input);
    memmove(one->input, at, (size_t)one->length + 1);
}

static void readable(struct client *one)
{
    for (;;) {
        ssize_t got = recv(one->fd, one->input + one->length, (size_t)(INPUT_BYTES - 1 - one->length), MSG_DONTWAIT);
        char *body, *length;

        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            resets++;
            rest(one);
            return;
        }
        bytes_in += (unsigned long)got;
        one->length += (int)got;
        one->input[one->length] = 0;
        if (one->length == INPUT_BYTES - 1) {
            resets++;
            rest(one);
            return;
        }
        if (one->in_stream) {
            take_events(one);
            continue;
        }
        body = strstr(one->input, "\r\n\r\n");
        if (!body)
            continue;
        body += 4;
        if (strncmp(one->input, "HTTP/1.1 200 ", 13)) {
            int status = atoi(one->input + 9);

            refusals[status > 0 && status < 600 ? status : 0]++;
            refused++;
            rest(one);
            return;
        }
        if (streams) {
            one->in_stream = true;
            one->length -= (int)(body - one->input);
            memmove(one->input, body, (size_t)one->length + 1);
            take_events(one);
            continue;
        }
        length = strcasestr(one->input, "\r\nContent-Length: ");
        if (!length || length > body) {
            refused++;
            rest(one);
            return;
        }
        if (one->input + one->length < body + atoi(length + 18))
            continue;
        take_answer(one, body);
        if (one->fd < 0)
            return;
    }
}

static void report(void)
{
    printf("{\"requests\":%lu,\"deltas\":%lu,\"silences\":%lu,\"refused\":%lu,\"resets\":%lu,\"twice\":%lu,"
           "\"holes\":%lu,\"bytes_in\":%lu,\"bytes_out\":%lu,\"addresses\":[",
           requests, deltas, silences, refused, resets, twice, holes, bytes_in, bytes_out);
    for (int at = 0; at < address_count; at++)
        printf("%s\"%s\"", at ? "," : "", addresses[at]);
    printf("],\"refusals\":{");
    for (int status = 0, any = 0; status < 600; status++)
        if (refusals[status]) {
            printf("%s\"%d\":%lu", any ? "," : "", status, refusals[status]);
            any = 1;
        }
    printf("},\"late_ms\":{");
    for (int seq = 0, any = 0; seq < SEQS; seq++) {
        bool begun = false;

        for (int ms = 0; ms < LATE_MS; ms++) {
            if (!late[seq][ms])
                continue;
            if (!begun)
                printf("%s\"%d\":{", any ? "," : "", seq);
            printf("%s\"%d\":%u", begun ? "," : "", ms, late[seq][ms]);
            begun = true;
            any = 1;
        }
        if (begun)
            printf("}");
    }
    printf("}}\n");
}

int main(int argc, char **argv)
{
    int per_second, opened = 0, connected_said = 0;
    uint64_t began_ns, end_ns;

    if (argc != 7) {
        fprintf(stderr, "usage: cdn-poller PORT poll|sse PATH CLIENTS PER_SECOND SECONDS\n");
        return 2;
    }
    port = atoi(argv[1]);
    streams = !strcmp(argv[2], "sse");
    client_count = atoi(argv[4]);
    per_second = atoi(argv[5]);
    if (client_count < 1 || client_count > MAX_CLIENTS || per_second < 1 || atoi(argv[6]) > MAX_SECONDS ||
        strlen(argv[3]) > PATH_BYTES - 48) {
        fprintf(stderr, "at most %d clients for %d s\n", MAX_CLIENTS, MAX_SECONDS);
        return 2;
    }
    clients = calloc((size_t)client_count, sizeof *clients);
    epoll = epoll_create1(0);
    for (int index = 0; index < client_count; index++) {
        const char *id = strstr(argv[3], "/deltas/");

        clients[index].fd = -1;
        clients[index].input = malloc(INPUT_BYTES);
        strcpy(clients[index].path, argv[3]);
        if (id && (id = strchr(id, '-')))
            clients[index].seq = strtoull(id + 1, NULL, 10);
    }
    began_ns = clock_ns(CLOCK_MONOTONIC);
    end_ns = began_ns + strtoull(argv[6], NULL, 10) * 1000000000ULL;
    for (;;) {
        struct epoll_event events[256];
        uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
        int count;

        if (now_ns >= end_ns)
            break;
        while (opened < client_count && (double)opened < (double)(now_ns - began_ns) / 1e9 * per_second)
            open_client(opened++);
        if (opened == client_count && !connected_said) {
            connected_said = 1;
            fprintf(stderr, "ready\n");
        }
        for (int index = 0; resting && index < client_count; index++) {
            if (clients[index].phase == RESTING && clients[index].due_ns <= now_ns) {
                resting--;
                open_client(index);
            }
        }
        count = epoll_wait(epoll, events, 256, opened < client_count ? 1 : 100);
        for (int at = 0; at < count; at++) {
            struct client *one = &clients[events[at].data.u32];

            if (one->fd < 0)
                continue;
            if (one->phase == CONNECTING) {
                struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = events[at].data.u32};

                epoll_ctl(epoll, EPOLL_CTL_MOD, one->fd, &wanted);
                ask(one);
            } else if (one->phase == ASKING) {
                readable(one);
            }
        }
    }
    report();
    return 0;
}
