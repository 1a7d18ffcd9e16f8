#include "embedded.h"

// #embed (C23) takes the files as they are and is tracked as a dependency; SwiftPM's own embedding
// took 53 s for 200 KB, this takes 2 (measured). A migration must be listed here: a test compares
// the list with the folder.
#pragma clang diagnostic ignored "-Wc23-extensions"


static const unsigned char m0001[] = {
#embed "../../migrations/0001_roles.sql"
};
static const unsigned char m0002[] = {
#embed "../../migrations/0002_tenants.sql"
};
static const unsigned char m0003[] = {
#embed "../../migrations/0003_usage_log.sql"
};
static const unsigned char m0004[] = {
#embed "../../migrations/0004_partitions.sql"
};
static const unsigned char m0005[] = {
#embed "../../migrations/0005_jobs.sql"
};
static const unsigned char m0006[] = {
#embed "../../migrations/0006_records.sql"
};
static const unsigned char m0007[] = {
#embed "../../migrations/0007_policies.sql"
};
static const unsigned char m0008[] = {
#embed "../../migrations/0008_decisions.sql"
};
static const unsigned char m0009[] = {
#embed "../../migrations/0009_usage.sql"
};
static const unsigned char m0010[] = {
#embed "../../migrations/0010_breakers.sql"
};
static const unsigned char m0011[] = {
#embed "../../migrations/0011_tenant_life.sql"
};
static const unsigned char m0012[] = {
#embed "../../migrations/0012_ledger_speed.sql"
};
static const unsigned char m0013[] = {
#embed "../../migrations/0013_import.sql"
};
static const unsigned char m0014[] = {
#embed "../../migrations/0014_regions.sql"
};
static const unsigned char m0015[] = {
#embed "../../migrations/0015_attempts.sql"
};
static const unsigned char m0016[] = {
#embed "../../migrations/0016_ledger_plans.sql"
};
static const unsigned char m0017[] = {
#embed "../../migrations/0017_sandboxes.sql"
};
static const unsigned char contract[] = {
#embed "../../openapi/breakwater.yaml"
};

static const struct bw_embedded_file migrations[] = {
    {"0001_roles", m0001, sizeof m0001},
    {"0002_tenants", m0002, sizeof m0002},
    {"0003_usage_log", m0003, sizeof m0003},
    {"0004_partitions", m0004, sizeof m0004},
    {"0005_jobs", m0005, sizeof m0005},
    {"0006_records", m0006, sizeof m0006},
    {"0007_policies", m0007, sizeof m0007},
    {"0008_decisions", m0008, sizeof m0008},
    {"0009_usage", m0009, sizeof m0009},
    {"0010_breakers", m0010, sizeof m0010},
    {"0011_tenant_life", m0011, sizeof m0011},
    {"0012_ledger_speed", m0012, sizeof m0012},
    {"0013_import", m0013, sizeof m0013},
    {"0014_regions", m0014, sizeof m0014},
    {"0015_attempts", m0015, sizeof m0015},
    {"0016_ledger_plans", m0016, sizeof m0016},
    {"0017_sandboxes", m0017, sizeof m0017},
};

size_t bw_migration_count(void) { return sizeof migrations / sizeof migrations[0]; }

struct bw_embedded_file bw_migration(size_t index) { return migrations[index]; }

struct bw_embedded_file bw_contract(void) {
    return (struct bw_embedded_file){"breakwater.yaml", contract, sizeof contract};
}
