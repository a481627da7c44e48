/*
 * Viewers of one match on one thread that obey the server's ladder, as the widget does: they read a stream; where
 * a heartbeat says a step of 2 or more they poll, long-poll at 2, and close the stream once a poll is answered;
 * where an answer says less they open the stream again and close the poll's connection at its first frame.
 *
 *   ladder-viewers STREAM_PORT POLL_PORT MATCH VIEWERS PER_SECOND SECONDS
 *
 * Only 127.0.0.1 is asked, by at most 18,000 viewers for at most 600 s. Ends at the end of standard input, too.
 * Each quarter of a second one line of JSON: monotonic nanoseconds, how many have a stream that has brought a frame,
 * how many have a connection for polls that was answered, the least and greatest seq, and counters. `holes` counts
 * deltas that did not follow the one before: what was missed. A state replaces what is before it, and is no hole.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
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
    MAX_VIEWERS = 18000,
    MAX_SECONDS = 600,
    INPUT_MAX = 1 << 18,
    SOURCES = 64,
    MOVE_MS = 10000,
    POLL_MS = 5000,
    RARE_POLL_MS = 20000,
    SLICE_MS = 10000,
    AGAIN_MS = 2500,
};

enum phase { CLOSED, CONNECTING, ASKED, OPEN, RESTING };

struct link {
    int fd;
    enum phase phase;
    uint64_t due_ns; /* RESTING: when it asks again */
    char *input;
    int length, room;
    bool has_head;
};

struct viewer {
    struct link stream, poll;
    uint64_t epoch, seq, slice, move_ns;
    int step;
    bool is_off, answered;
};

static struct viewer *viewers;
static int viewer_count, epoll, stream_port, poll_port;
static const char *match;
static unsigned long requests, holes, twice, states, deltas, refused, resets, heartbeats;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static uint64_t drawn_ns(double from_ms, double to_ms)
{
    return now_ns() + (uint64_t)((from_ms + (to_ms - from_ms) * drand48()) * 1e6);
}

static void close_link(struct link *one)
{
    if (one->fd >= 0)
        close(one->fd);
    free(one->input);
    *one = (struct link){.fd = -1};
}

/* After an error: again a little later, as real viewers do. */
static void lose(struct link *one)
{
    close_link(one);
    resets++;
    one->phase = RESTING;
    one->due_ns = drawn_ns(AGAIN_MS / 5.0, AGAIN_MS);
}

static void send_request(struct viewer *of, struct link *one)
{
    char request[512], target[256];
    bool is_stream = one == &of->stream;

    if (is_stream && of->seq)
        snprintf(target, sizeof target, "/stream/%s?last_event_id=%llu-%llu", match, (unsigned long long)of->epoch,
                 (unsigned long long)of->seq);
    else if (is_stream)
        snprintf(target, sizeof target, "/stream/%s", match);
    else if (of->slice && of->step == 2)
        snprintf(target, sizeof target, "/api/match/%s/deltas/%llu-%llu/%llu", match, (unsigned long long)of->epoch,
                 (unsigned long long)of->seq, (unsigned long long)of->slice);
    else {
        of->slice = 0;
        snprintf(target, sizeof target, "/api/match/%s/state", match);
    }
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n"
                        "Accept-Encoding: gzip\r\n\r\n", target);
    one->phase = ASKED;
    one->length = 0;
    one->has_head = false;
    requests++;
    if (send(one->fd, request, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT) != size)
        lose(one);
}

static void open_link(struct viewer *of, struct link *one)
{
    int index = (int)(of - viewers), yes = 1, port = one == &of->stream ? stream_port : poll_port;
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLOUT,
                                .data.u32 = (uint32_t)index << 1 | (one == &of->poll ? 1U : 0U)};

    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (one->fd < 0) {
        lose(one);
        return;
    }
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(one->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index % SOURCES));
    if (bind(one->fd, (struct sockaddr *)&address, sizeof address)) {
        lose(one);
        return;
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    one->phase = CONNECTING;
    if (connect(one->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        lose(one);
    else
        epoll_ctl(epoll, EPOLL_CTL_ADD, one->fd, &event);
}

/* What is heard counts when the time has come that was drawn at the first of it (widget/src/steps.js). */
static void hear(struct viewer *of, int step)
{
    of->step = step;
    if (!of->move_ns && of->is_off != (step >= 2))
        of->move_ns = drawn_ns(0, MOVE_MS);
}

static void move(struct viewer *of)
{
    of->move_ns = 0;
    if (of->is_off == (of->step >= 2))
        return;
    of->is_off = !of->is_off;
    if (of->is_off && of->poll.phase == CLOSED)
        open_link(of, &of->poll);
    else if (!of->is_off && of->stream.phase == CLOSED)
        open_link(of, &of->stream);
}

static int step_in(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? atoi(at + strlen(name)) : 0;
}

static void take(struct viewer *of, uint64_t epoch, uint64_t seq)
{
    if (epoch == of->epoch && seq <= of->seq) {
        twice++;
        return;
    }
    holes += of->seq && (epoch != of->epoch || seq != of->seq + 1);
    of->epoch = epoch;
    of->seq = seq;
    deltas++;
}

static void take_events(struct viewer *of)
{
    struct link *one = &of->stream;
    char *at = one->input, *end;
    unsigned long long epoch, seq;

    while ((end = strstr(at, "\n\n"))) {
        char *id;

        *end = 0;
        id = strstr(at, "id: ");
        if (strstr(at, "event: score") && id && sscanf(id, "id: %llu-%llu", &epoch, &seq) == 2) {
            take(of, epoch, seq);
        } else if (strstr(at, "event: gap") && id && sscanf(id, "id: %llu-%llu", &epoch, &seq) == 2) {
            holes += of->seq != 0; /* only a new viewer has missed nothing by it */
            of->epoch = epoch;
            of->seq = seq;
        } else if (strstr(at, "event: heartbeat")) {
            heartbeats++;
            hear(of, step_in(at, "\"step\":"));
        }
        if (strstr(at, "event: ")) {
            one->phase = OPEN;
            if (!of->is_off && of->poll.phase != CLOSED) {
                close_link(&of->poll);
                of->answered = false;
            }
        }
        at = end + 2;
    }
    one->length -= (int)(at - one->input);
    memmove(one->input, at, (size_t)one->length + 1);
}

static void ask_again(struct viewer *of, bool at_once)
{
    double ms = of->step >= 4 ? RARE_POLL_MS : POLL_MS;

    if (at_once) {
        send_request(of, &of->poll);
        return;
    }
    of->poll.phase = RESTING;
    of->poll.due_ns = drawn_ns(0.5 * ms, 1.5 * ms);
}

static void take_answer(struct viewer *of, char *head, char *body)
{
    unsigned long long epoch, seq, slice;
    const char *id = strcasestr(head, "\r\nTouchline-Id: "), *as_of = strcasestr(head, "\r\nTouchline-As-Of: ");

    if (id && id < body && as_of && as_of < body && sscanf(id + 16, "%llu-%llu", &epoch, &seq) == 2) {
        const char *step = strcasestr(head, "\r\nTouchline-Step: ");

        states++;
        if (epoch != of->epoch || seq > of->seq) {
            of->epoch = epoch;
            of->seq = seq;
        }
        hear(of, step && step < body ? atoi(step + 18) : 0);
        of->slice = strtoull(as_of + 19, NULL, 10) / SLICE_MS;
    } else {
        const char *next = strstr(body, "\"next\":{\"id\":\""), *at = strstr(body, "\"deltas\":[");

        if (!next || !at || sscanf(next, "\"next\":{\"id\":\"%llu-%llu\",\"slice\":%llu", &epoch, &seq, &slice) != 3) {
            refused++;
            lose(&of->poll);
            return;
        }
        of->slice = slice;
        while ((at = strstr(at, "[\"")) && at < next) {
            if (sscanf(at, "[\"%llu-%llu\",", &epoch, &seq) == 2)
                take(of, epoch, seq);
            at += 2;
        }
        hear(of, step_in(next, "\"step\":"));
    }
    of->answered = true;
    if (of->is_off && of->stream.phase != CLOSED)
        close_link(&of->stream);
    ask_again(of, of->step == 2 && of->slice);
}

static void readable(struct viewer *of, struct link *one)
{
    for (;;) {
        ssize_t got;
        char *body, *length;

        if (one->length + 2048 > one->room) {
            one->room = one->room ? 2 * one->room : 4096;
            one->input = one->room > INPUT_MAX ? NULL : realloc(one->input, (size_t)one->room);
            if (!one->input) {
                fprintf(stderr, "an answer is too long\n");
                exit(1);
            }
        }
        got = recv(one->fd, one->input + one->length, (size_t)(one->room - 1 - one->length), MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            lose(one);
            return;
        }
        one->length += (int)got;
        one->input[one->length] = 0;
        if (!one->has_head) {
            body = strstr(one->input, "\r\n\r\n");
            if (!body)
                continue;
            if (strncmp(one->input, "HTTP/1.1 200 ", 13)) {
                if (!refused)
                    fprintf(stderr, "the first refusal: %.300s\n", one->input);
                refused++;
                of->slice = 0;
                lose(one);
                return;
            }
            if (one == &of->stream) {
                one->has_head = true;
                one->length -= (int)(body + 4 - one->input);
                memmove(one->input, body + 4, (size_t)one->length + 1);
            }
        }
        if (one == &of->stream) {
            take_events(of);
            if (one->fd < 0)
                return;
            continue;
        }
        body = strstr(one->input, "\r\n\r\n") + 4;
        length = strcasestr(one->input, "\r\nContent-Length: ");
        if (!length || length > body) {
            refused++;
            lose(one);
            return;
        }
        if (one->input + one->length < body + atoi(length + 18))
            continue;
        take_answer(of, one->input, body);
        return;
    }
}

static void report(void)
{
    int streams = 0, polls = 0;
    uint64_t least = UINT64_MAX, most = 0;

    for (int index = 0; index < viewer_count; index++) {
        struct viewer *one = &viewers[index];

        streams += one->stream.phase == OPEN;
        polls += one->poll.phase != CLOSED && one->answered;
        least = one->seq < least ? one->seq : least;
        most = one->seq > most ? one->seq : most;
    }
    printf("{\"ns\":%llu,\"streams\":%d,\"polls\":%d,\"least\":%llu,\"most\":%llu,\"holes\":%lu,\"twice\":%lu,"
           "\"deltas\":%lu,\"states\":%lu,\"heartbeats\":%lu,\"requests\":%lu,\"refused\":%lu,\"resets\":%lu}\n",
           (unsigned long long)now_ns(), streams, polls, (unsigned long long)least, (unsigned long long)most, holes,
           twice, deltas, states, heartbeats, requests, refused, resets);
    fflush(stdout);
}

static bool driver_has_gone(void)
{
    struct pollfd in = {.fd = 0, .events = POLLIN};
    char byte;

    return poll(&in, 1, 0) > 0 && read(0, &byte, 1) <= 0;
}

int main(int argc, char **argv)
{
    int per_second, opened = 0;
    uint64_t began, end, reported = 0, looked = 0;

    if (argc != 7) {
        fprintf(stderr, "usage: ladder-viewers STREAM_PORT POLL_PORT MATCH VIEWERS PER_SECOND SECONDS\n");
        return 2;
    }
    stream_port = atoi(argv[1]);
    poll_port = atoi(argv[2]);
    match = argv[3];
    viewer_count = atoi(argv[4]);
    per_second = atoi(argv[5]);
    if (viewer_count < 1 || viewer_count > MAX_VIEWERS || per_second < 1 || atoi(argv[6]) > MAX_SECONDS ||
        strlen(match) > 64) {
        fprintf(stderr, "at most %d viewers for %d s\n", MAX_VIEWERS, MAX_SECONDS);
        return 2;
    }
    srand48(1);
    viewers = calloc((size_t)viewer_count, sizeof *viewers);
    epoll = epoll_create1(0);
    for (int index = 0; index < viewer_count; index++)
        viewers[index].stream.fd = viewers[index].poll.fd = -1;
    began = now_ns();
    end = began + strtoull(argv[6], NULL, 10) * 1000000000ULL;
    for (uint64_t now = began; now < end; now = now_ns()) {
        struct epoll_event events[256];
        int count;

        while (opened < viewer_count && (double)opened < (double)(now - began) / 1e9 * per_second) {
            open_link(&viewers[opened], &viewers[opened].stream);
            opened++;
        }
        if (now - looked > 20000000ULL) {
            looked = now;
            for (int index = 0; index < opened; index++) {
                struct viewer *of = &viewers[index];
                struct link *links[] = {&of->stream, &of->poll};

                if (of->move_ns && of->move_ns <= now)
                    move(of);
                for (int which = 0; which < 2; which++) {
                    struct link *one = links[which];

                    if (one->phase != RESTING || one->due_ns > now)
                        continue;
                    if (one->fd >= 0)
                        send_request(of, one);
                    else
                        open_link(of, one);
                }
            }
        }
        if (now - reported > 250000000ULL) {
            reported = now;
            if (driver_has_gone())
                break;
            report();
        }
        count = epoll_wait(epoll, events, 256, 10);
        for (int at = 0; at < count; at++) {
            struct viewer *of = &viewers[events[at].data.u32 >> 1];
            struct link *one = events[at].data.u32 & 1 ? &of->poll : &of->stream;

            if (one->fd < 0)
                continue;
            if (one->phase == CONNECTING) {
                struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = events[at].data.u32};

                epoll_ctl(epoll, EPOLL_CTL_MOD, one->fd, &wanted);
                send_request(of, one);
            } else {
                readable(of, one);
            }
        }
    }
    report();
    return 0;
}
