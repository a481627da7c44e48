/* Latencies of published events: recorded by the children in shared memory, merged by the parent. */
#include "load.h"

#include <stdio.h>
#include <string.h>

static int bucket_of(uint64_t offset_ns)
{
    uint64_t us = offset_ns / 1000;
    int octave, bucket;

    if (us < SUB_BUCKETS)
        return (int)us;
    octave = 63 - __builtin_clzll(us) - 6; /* 2^6 = SUB_BUCKETS */
    bucket = (octave + 1) * SUB_BUCKETS + (int)((us >> octave) & (SUB_BUCKETS - 1));
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static double bucket_ms(int bucket)
{
    int octave = bucket / SUB_BUCKETS - 1;

    if (octave < 0)
        return bucket / 1e3;
    /* The middle of the bucket: neither end flatters. */
    return ((double)((uint64_t)(SUB_BUCKETS + bucket % SUB_BUCKETS) << octave) + (1ULL << octave) / 2.0) / 1e3;
}

/* The first child to see an event sets the instant that all offsets are counted from. */
static uint64_t claim_base(struct shared *shared, int slot, uint64_t epoch, uint64_t seq, uint64_t received_ns)
{
    uint64_t first;

    while (atomic_flag_test_and_set_explicit(&shared->claim, memory_order_acquire))
        ;
    if (shared->base[slot].seq != seq || shared->base[slot].epoch != epoch) {
        shared->base[slot].epoch = epoch;
        shared->base[slot].seq = seq;
        shared->base[slot].first_ns = received_ns;
    }
    first = shared->base[slot].first_ns;
    atomic_flag_clear_explicit(&shared->claim, memory_order_release);
    return first;
}

void record(struct child *child, uint64_t epoch, uint64_t seq, int frame_bytes, uint64_t received_ns)
{
    int number = (int)(seq % EVENT_SLOTS);
    struct event_slot *slot = &child->counters->slots[number];
    uint64_t first;

    if (slot->seq != seq || slot->epoch != epoch) {
        /* A replay of something long gone must not wipe the event that has its place now. */
        if (slot->epoch == epoch && slot->seq > seq)
            return;
        memset(slot, 0, sizeof *slot);
        slot->epoch = epoch;
        slot->seq = seq;
        slot->frame_bytes = (uint32_t)frame_bytes;
        claim_base(child->shared, number, epoch, seq, received_ns);
    }
    first = child->shared->base[number].first_ns;
    slot->buckets[bucket_of(received_ns > first ? received_ns - first : 0)]++;
    slot->last_ns = received_ns;
    BUMP(slot->delivered, 1);
}

/* Receipts of the newest epoch of this seq; a child that still holds another epoch has none of them. */
uint32_t delivered(const struct shared *shared, int processes, uint64_t seq)
{
    int number = (int)(seq % EVENT_SLOTS);
    uint32_t sum = 0;

    for (int i = 0; i < processes; i++) {
        const struct event_slot *slot = &shared->children[i].slots[number];

        if (slot->seq == seq && slot->epoch == shared->base[number].epoch)
            sum += slot->delivered;
    }
    return sum;
}

void print_event(const struct shared *shared, int processes, uint64_t seq, uint64_t sent_ns)
{
    static uint32_t merged[BUCKETS];
    int number = (int)(seq % EVENT_SLOTS), quantile[2] = {-1, -1};
    uint64_t first = shared->base[number].first_ns, last = 0, total = 0, below = 0;
    uint64_t epoch = shared->base[number].epoch;
    uint32_t frame_bytes = 0;
    double lead_ms, last_ms, ms[2];

    memset(merged, 0, sizeof merged);
    for (int i = 0; i < processes; i++) {
        const struct event_slot *slot = &shared->children[i].slots[number];

        if (slot->seq != seq || slot->epoch != epoch)
            continue;
        for (int b = 0; b < BUCKETS; b++) {
            merged[b] += slot->buckets[b];
            total += slot->buckets[b];
        }
        if (slot->last_ns > last)
            last = slot->last_ns;
        frame_bytes = slot->frame_bytes;
    }
    if (!total) {
        printf("{\"seq\":%llu,\"delivered\":0}\n", (unsigned long long)seq);
        return;
    }
    for (int b = 0; b < BUCKETS; b++) {
        below += merged[b];
        if (quantile[0] < 0 && below * 2 >= total)
            quantile[0] = b;
        if (quantile[1] < 0 && below * 100 >= total * 99)
            quantile[1] = b;
    }
    lead_ms = ((double)first - (double)sent_ns) / 1e6;
    last_ms = ((double)last - (double)sent_ns) / 1e6;
    for (int q = 0; q < 2; q++) {
        /* The middle of the last bucket may lie beyond the last receipt. */
        ms[q] = lead_ms + bucket_ms(quantile[q]);
        if (ms[q] > last_ms)
            ms[q] = last_ms;
    }
    printf("{\"seq\":%llu,\"epoch\":%llu,\"delivered\":%llu,\"frame_bytes\":%u,\"first_ms\":%.3f,"
           "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"last_ms\":%.3f}\n",
           (unsigned long long)seq, (unsigned long long)epoch, (unsigned long long)total, frame_bytes, lead_ms,
           ms[0], ms[1], last_ms);
}

void print_totals(const struct shared *shared, int processes)
{
#define SUM(field, into)                                                                                     \
    uint64_t into = 0;                                                                                       \
    for (int i = 0; i < processes; i++)                                                                      \
        into += shared->children[i].field;

    SUM(live, live)
    SUM(lost, lost)
    SUM(reconnects, reconnects)
    SUM(refused, refused)
    SUM(timeouts, timeouts)
    SUM(rejected, rejected)
    SUM(bad_status, bad_status)
    SUM(no_address, no_address)
    SUM(frames, frames)
    SUM(missed, missed)
    SUM(duplicates, duplicates)
    SUM(gap_events, gap_events)
    SUM(epoch_changes, epoch_changes)
    SUM(heartbeats, heartbeats)
    SUM(malformed, malformed)
#undef SUM
#define U(value) (unsigned long long)(value)
    printf("{\"live\":%llu,\"lost\":%llu,\"reconnects\":%llu,\"refused\":%llu,\"timeouts\":%llu,"
           "\"rejected\":%llu,\"bad_status\":%llu,\"no_address\":%llu,\"frames\":%llu,\"missed\":%llu,"
           "\"duplicates\":%llu,\"gap_events\":%llu,\"epoch_changes\":%llu,\"heartbeats\":%llu,"
           "\"malformed\":%llu}\n",
           U(live), U(lost), U(reconnects), U(refused), U(timeouts), U(rejected), U(bad_status), U(no_address),
           U(frames), U(missed), U(duplicates), U(gap_events), U(epoch_changes), U(heartbeats), U(malformed));
#undef U
}
