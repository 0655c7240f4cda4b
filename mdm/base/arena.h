/* Memory with the life of one request: allocated piece by piece, freed at once, capped.
 * Not thread-safe: one owner at a time. Nothing from an arena goes into a long-lived object. */
#ifndef TD_BASE_ARENA_H
#define TD_BASE_ARENA_H

#include "mdm/base/span.h"

struct arena_chunk;
struct arena_cleanup;

struct arena {
    struct arena_chunk *head;
    struct arena_cleanup *cleanups;
    size_t used, max;
};

/* Starts an arena of at most `max` bytes. */
void arena_init(struct arena *a, size_t max);

/* Runs the cleanups, newest first, and frees (wiping) everything. The arena can be used again. */
void arena_free(struct arena *a);

/* n zeroed bytes aligned for any type, or NULL when the cap or the memory is reached. */
void *arena_alloc(struct arena *a, size_t n);

/* A copy of the bytes with a NUL behind; NULL as arena_alloc. */
char *arena_dup(struct arena *a, struct span s);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As arena_dup, as a span; {NULL,0} on failure. */
struct span arena_span(struct arena *a, struct span s);

/* Calls fn(p) when the arena is freed. False (fn not called) when out of memory. */
bool arena_defer(struct arena *a, void (*fn)(void *), void *p);

#define arena_auto __attribute__((cleanup(arena_free))) struct arena

#endif
