/* room: signer */
/* Lines of an audit log's checkpoints. One that verifies is one that was signed. */
#include <stdlib.h>

#include "acme/signer/checkpoint.h"
#include "mdm/base/hex.h"

/* The public half of a key that signed two lines of the corpus. */
#define SPKI                                                                                       \
    "3059301306072a8648ce3d020106082a8648ce3d03010703420004aafd920aec672ea6a4"                     \
    "84224570d0418727bfc8a2805a64e82030b26b517ae52a47d371f565319ab2b324be3c3e"                     \
    "a16498430f8c95ee33045c46e22b0ccdfecff8"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct key *the_key(void)
{
    static struct key *key;
    uint8_t der[(sizeof SPKI - 1) / 2];
    if (!key && (crypt_init(NULL) != TD_OK || hex_dec(SPAN_LIT(SPKI), der, sizeof der) != TD_OK ||
                 key_from_spki(SPAN_ARR(der), &key, NULL) != TD_OK))
        abort();
    return key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct errinfo ei = {0};
    struct checkpoint_mark m;
    enum td_err e = checkpoint_parse(span_of(data, size), "audit.log", the_key(), &m, &ei);
    if (e != TD_OK && e != TD_PARSE && e != TD_CRYPTO && e != TD_LIMIT)
        abort();
    return 0;
}
