#include "mdm/store/store_int.h"

#include <stdlib.h>

#include "mdm/base/utf8.h"

static size_t slot_of(const struct stmt_table *t, const struct store_stmt *st)
{
    /* Fibonacci hashing: addresses of neighbours in an array spread over the table */
    return (size_t)(((uint64_t)(uintptr_t)st >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & t->mask;
}

static bool letters_valid(const char *s)
{
    return s && s[strspn(s, "tibTIB")] == '\0';
}

/* INSERT is none: nobody keeps what is not there. */
static bool changes_status(const char *sql)
{
    return strncmp(sql, "UPDATE certificates ", 20) == 0 ||
           strncmp(sql, "DELETE FROM certificates ", 25) == 0;
}

static enum td_err table_add(struct stmt_table *t, const struct store_stmt *st, struct errinfo *ei)
{
    if (!st->name || !st->sql || !letters_valid(st->in) || !letters_valid(st->out))
        return err_set(ei, TD_INTERNAL, "statement %s: a row is incomplete",
                       st->name ? st->name : "?");
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->list[i]->name, st->name) == 0)
            return err_set(ei, TD_INTERNAL, "statement %s: registered twice", st->name);
    size_t k = slot_of(t, st);
    while (t->slots[k])
        k = (k + 1) & t->mask;
    t->status[t->n] = changes_status(st->sql);
    t->list[t->n++] = st;
    t->slots[k] = (uint32_t)t->n;
    return TD_OK;
}

static enum td_err table_fill(struct stmt_table *t, const struct store_stmts *sets, size_t nsets,
                              struct errinfo *ei)
{
    for (size_t k = 0; k < migrate_stmts.n; k++)
        TD_TRY(table_add(t, &migrate_stmts.stmts[k], ei));
    for (size_t i = 0; i < nsets; i++)
        for (size_t k = 0; k < sets[i].n; k++)
            TD_TRY(table_add(t, &sets[i].stmts[k], ei));
    return TD_OK;
}

enum td_err stmt_table_init(struct stmt_table *t, const struct store_stmts *sets, size_t nsets,
                            struct errinfo *ei)
{
    size_t n = migrate_stmts.n;
    for (size_t i = 0; i < nsets; i++)
        n += sets[i].n;
    size_t slots = 16;
    while (slots < n * 4)
        slots *= 2;
    *t = (struct stmt_table){.list = calloc(n, sizeof(struct store_stmt *)),
                             .status = calloc(n, sizeof *t->status),
                             .slots = calloc(slots, sizeof *t->slots),
                             .mask = slots - 1};
    enum td_err e = t->list && t->status && t->slots ? table_fill(t, sets, nsets, ei) : TD_NOMEM;
    if (e != TD_OK)
        stmt_table_free(t);
    return e;
}

void stmt_table_free(struct stmt_table *t)
{
    free(t->list);
    free(t->status);
    free(t->slots);
    *t = (struct stmt_table){0};
}

size_t stmt_table_find(const struct stmt_table *t, const struct store_stmt *st)
{
    for (size_t k = slot_of(t, st); t->slots[k]; k = (k + 1) & t->mask)
        if (t->list[t->slots[k] - 1] == st)
            return t->slots[k] - 1;
    return STMT_NONE;
}

/* Eight bytes of ASCII without NUL. */
static bool plain8(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    return ((v | (v - ones)) & high) == 0;
}

bool store_text_valid(struct span s)
{
    size_t i = 0;
    while (s.n - i >= 8 && plain8(s.p + i))
        i += 8;
    struct span rest = span_sub(s, i, s.n - i);
    return rest.n == 0 || (!memchr(rest.p, 0, rest.n) && utf8_valid(rest));
}

static const struct {
    char letter;
    enum sval_kind kind;
} letters[] = {{'t', SVAL_TEXT}, {'i', SVAL_INT}, {'b', SVAL_BLOB}};

static bool kind_fits(char letter, enum sval_kind kind)
{
    if (letter >= 'A' && letter <= 'Z') {
        if (kind == SVAL_NULL)
            return true;
        letter = (char)(letter - 'A' + 'a');
    }
    for (size_t i = 0; i < TD_NITEMS(letters); i++)
        if (letters[i].letter == letter)
            return letters[i].kind == kind;
    return false;
}

enum td_err stmt_check_args(const struct store_stmt *st, const struct sval *args, size_t nargs,
                            struct errinfo *ei)
{
    if (strlen(st->in) != nargs)
        return err_set(ei, TD_INTERNAL, "%s: %zu arguments, not %zu", st->name, nargs,
                       strlen(st->in));
    for (size_t i = 0; i < nargs; i++) {
        if (!kind_fits(st->in[i], args[i].kind))
            return err_set(ei, TD_INTERNAL, "%s: argument %zu is not '%c'", st->name, i + 1,
                           st->in[i]);
        if (args[i].kind == SVAL_TEXT && !store_text_valid(args[i].s))
            return err_set(ei, TD_INVAL, "%s: argument %zu is not UTF-8 text", st->name, i + 1);
    }
    return TD_OK;
}
