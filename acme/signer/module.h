/* The process that holds a PKCS#11 module: see hsm.h. */
#ifndef TD_ACME_SIGNER_MODULE_H
#define TD_ACME_SIGNER_MODULE_H

#include "acme/signer/hsm.h"

/* Loads the module, says how that went, then serves the socket until it closes. The exit status. */
int module_serve(const struct hsm_conf *c, int fd);

#endif
