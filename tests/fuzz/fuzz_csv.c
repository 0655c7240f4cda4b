/* room: inventory */
#include "mdm/base/buf.h"
#include "mdm/inventory/csv.h"
#include "mdm/inventory/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELDS 8

/* The records as CSV again, every field quoted. */
static enum td_err rewrite(struct span in, struct buf *out)
{
    arena_auto a;
    arena_init(&a, 16 * in.n + 64); /* each field may be rounded up */
    struct csv c;
    struct span f[FIELDS];
    size_t n;
    TD_TRY(csv_init(&c, in, NULL));
    enum td_err e;
    while ((e = csv_next(&c, &a, f, FIELDS, &n, NULL)) == TD_OK) {
        for (size_t i = 0; i < n; i++) {
            buf_str(out, i ? ",\"" : "\"");
            for (size_t k = 0; k < f[i].n; k++) {
                if (f[i].p[k] == '"')
                    buf_u8(out, '"');
                buf_u8(out, f[i].p[k]);
            }
            buf_u8(out, '"');
        }
        buf_u8(out, '\n');
    }
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    buf_auto once, twice;
    buf_init(&once, 8 * size + 64);
    buf_init(&twice, 64 * size + 4096);
    if (rewrite(span_of(data, size), &once) == TD_NOTFOUND) {
        if (rewrite(buf_view(&once), &twice) != TD_NOTFOUND ||
            !span_eq(buf_view(&once), buf_view(&twice)))
            __builtin_trap(); /* what was read must be what was written */
    }
    struct inv_rows rows;
    size_t line;
    if (inv_rows_parse(span_of(data, size), &rows, &line, NULL) == TD_OK) {
        for (size_t i = 0; i < rows.n; i++)
            if (!inv_serial_valid(rows.rows[i].fields[INV_SERIAL]))
                __builtin_trap();
        inv_rows_free(&rows);
    } else if (line == 0) {
        __builtin_trap(); /* an error names its line */
    }
    return 0;
}
