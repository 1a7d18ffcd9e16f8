// What is part of the binary: the migrations, the contract, the dashboard, what was built.
#pragma once
#include <stddef.h>

struct bw_embedded_file {
    const char *name;
    const unsigned char *bytes;
    size_t count;
};

/// How many migrations there are.
size_t bw_migration_count(void);
/// Migration `index`, in order, from 0.
struct bw_embedded_file bw_migration(size_t index);
/// The OpenAPI document.
struct bw_embedded_file bw_contract(void);
/// How many files the dashboard has.
size_t bw_dashboard_count(void);
/// File `index` of the dashboard, from 0.
struct bw_embedded_file bw_dashboard(size_t index);
/// The commit that was built, or "unknown".
const char *bw_build_commit(void);
/// The version of Swift that built it, or "unknown".
const char *bw_build_swift(void);
