/* XML property lists written piece by piece, independent of the server's writer. */
#ifndef TD_SIM_PLISTW_H
#define TD_SIM_PLISTW_H

#include "mdm/base/buf.h"

/* The prolog and the root dict / its end. */
void plistw_begin(struct buf *b);
void plistw_end(struct buf *b);

/* Members of a dict. Errors stick in the buffer. */
void plistw_key(struct buf *b, const char *key);
void plistw_str(struct buf *b, const char *key, const char *v);
void plistw_data(struct buf *b, const char *key, struct span v);
void plistw_int(struct buf *b, const char *key, int64_t v);
void plistw_real(struct buf *b, const char *key, double v);
void plistw_bool(struct buf *b, const char *key, bool v);

/* Elements of an array, and bare values behind plistw_key. */
void plistw_v_str(struct buf *b, const char *v);
void plistw_v_data(struct buf *b, struct span v);
void plistw_raw(struct buf *b, const char *xml);

#endif
