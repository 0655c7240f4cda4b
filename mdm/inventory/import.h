/* The rows of an inventory file, read and judged before the database is asked. */
#ifndef TD_INVENTORY_IMPORT_H
#define TD_INVENTORY_IMPORT_H

#include "mdm/inventory/devices.h"

/* A field is {NULL,0} when its column is not in the file: the stored value stays. */
enum inv_column { INV_SERIAL, INV_NAME, INV_MODEL, INV_OWNER, INV_GROUPS, INV_COLUMNS };

struct inv_row {
    struct span fields[INV_COLUMNS];
    bool has[INV_COLUMNS];
    size_t line;
};

struct inv_rows {
    struct inv_row *rows; /* freed by inv_rows_free */
    size_t n, cap;
    struct arena arena; /* fields that are not borrowed from the file */
};

/* Reads a file of at most LIMIT_BODY_CSV bytes and INV_IMPORT_ROWS rows (TD_LIMIT). TD_PARSE or
 * TD_INVAL name the line, which is also in *ret_line; a serial listed twice is TD_INVAL. */
TD_NODISCARD enum td_err inv_rows_parse(struct span csv, struct inv_rows *ret, size_t *ret_line,
                                        struct errinfo *ei);
void inv_rows_free(struct inv_rows *r);

/* Whether a name, model or owner may be stored: at most INV_TEXT_MAX bytes of UTF-8 without control
 * characters. */
bool inv_text_valid(struct span s);

#endif
