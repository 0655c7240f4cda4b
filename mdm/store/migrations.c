#include "mdm/base/embed.h"
#include "mdm/store/store_int.h"

/* The text that is checksummed is the text in git. */
EMBED(base, "mdm/store/migrations/0001_base.sql");
EMBED(nodes, "mdm/store/migrations/0002_nodes.sql");
EMBED(ca, "mdm/store/migrations/0003_ca.sql");
EMBED(acme, "mdm/store/migrations/0004_acme.sql");
EMBED(outbox, "mdm/store/migrations/0005_outbox.sql");
EMBED(posture, "mdm/store/migrations/0006_posture.sql");

const struct migration store_migrations[] = {
    {1, "0001_base", base, base_end},
    {2, "0002_nodes", nodes, nodes_end},
    {3, "0003_ca", ca, ca_end},
    {4, "0004_acme", acme, acme_end},
    {5, "0005_outbox", outbox, outbox_end},
    {6, "0006_posture", posture, posture_end},
};

const size_t store_nmigrations = TD_NITEMS(store_migrations);
