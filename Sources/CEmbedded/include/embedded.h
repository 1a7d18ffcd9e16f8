// Files that are part of the binary: the migrations, and the contract.
#pragma once
#include <stddef.h>

struct bw_embedded_file {
    const char *name;
    const unsigned char *bytes;
    size_t count;
};

extern const struct bw_embedded_file bw_migrations[];
extern const size_t bw_migration_count;
extern const struct bw_embedded_file bw_contract;
