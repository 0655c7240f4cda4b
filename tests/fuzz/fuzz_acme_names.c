/* room: acme */
/* What a client names things by: contacts and an identifier in a payload, else a certificate's ARI
 * identifier, an OID, an AuthorityKeyIdentifier. */
#include <stdlib.h>

#include "acme/server/certid.h"
#include "acme/server/contact.h"
#include "acme/server/ident.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_payload(const struct json *p, struct arena *a)
{
    const char *contact = NULL;
    struct acme_ident id;
    struct json *again;
    if (acme_contact_read(p, a, &contact, NULL) == TD_OK && contact &&
        json_parse(span_str(contact), a, &again, NULL) != TD_OK)
        abort(); /* what is stored is read back into answers */
    if (acme_ident_parse(p, a, &id, NULL) == TD_OK &&
        (!id.client_id[0] || strchr(id.client_id, '/') || strlen(id.value) > ACME_IDENT_MAX))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena_auto a;
    arena_init(&a, (size_t)4 << 20);
    struct span in = span_of(data, size), aki = {NULL, 0}, serial = {NULL, 0};
    struct json *v;
    if (acme_certid_parse(in, &a, &aki, &serial) == TD_OK &&
        (aki.n == 0 || aki.n > ACME_AKI_MAX || serial.n == 0 || serial.n > ACME_SERIAL_MAX))
        abort();
    struct span keyid = acme_aki_keyid(in);
    if (keyid.n && (keyid.p < data || keyid.p + keyid.n > data + size))
        abort();
    (void)acme_oid_valid(in);
    if (json_parse(in, &a, &v, NULL) == TD_OK && json_kind(v) == JSON_K_OBJECT)
        as_payload(v, &a);
    return 0;
}
