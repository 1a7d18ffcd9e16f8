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
static const unsigned char m0018[] = {
#embed "../../migrations/0018_events.sql"
};
static const unsigned char m0019[] = {
#embed "../../migrations/0019_alerts.sql"
};
static const unsigned char m0020[] = {
#embed "../../migrations/0020_settings.sql"
};
static const unsigned char m0021[] = {
#embed "../../migrations/0021_sessions.sql"
};
static const unsigned char m0022[] = {
#embed "../../migrations/0022_creations_in_batches.sql"
};
static const unsigned char m0023[] = {
#embed "../../migrations/0023_checks.sql"
};
static const unsigned char m0024[] = {
#embed "../../migrations/0024_ends.sql"
};
static const unsigned char m0025[] = {
#embed "../../migrations/0025_instances.sql"
};
static const unsigned char contract[] = {
#embed "../../openapi/breakwater.yaml"
};

static const unsigned char d_index_html[] = {
#embed "../../dashboard/index.html"
};
static const unsigned char d_style_css[] = {
#embed "../../dashboard/style.css"
};
static const unsigned char d_icon_svg[] = {
#embed "../../dashboard/icon.svg"
};
static const unsigned char d_main_js[] = {
#embed "../../dashboard/main.js"
};
static const unsigned char d_api_js[] = {
#embed "../../dashboard/api.js"
};
static const unsigned char d_ui_js[] = {
#embed "../../dashboard/ui.js"
};
static const unsigned char d_charts_js[] = {
#embed "../../dashboard/charts.js"
};
static const unsigned char d_overview_js[] = {
#embed "../../dashboard/overview.js"
};
static const unsigned char d_breakers_js[] = {
#embed "../../dashboard/breakers.js"
};
static const unsigned char d_limits_js[] = {
#embed "../../dashboard/limits.js"
};
static const unsigned char d_creations_js[] = {
#embed "../../dashboard/creations.js"
};
static const unsigned char d_sandboxes_js[] = {
#embed "../../dashboard/sandboxes.js"
};
static const unsigned char d_tenants_js[] = {
#embed "../../dashboard/tenants.js"
};
static const unsigned char d_alerts_js[] = {
#embed "../../dashboard/alerts.js"
};
static const unsigned char d_jobs_js[] = {
#embed "../../dashboard/jobs.js"
};
static const unsigned char d_events_js[] = {
#embed "../../dashboard/events.js"
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
    {"0018_events", m0018, sizeof m0018},
    {"0019_alerts", m0019, sizeof m0019},
    {"0020_settings", m0020, sizeof m0020},
    {"0021_sessions", m0021, sizeof m0021},
    {"0022_creations_in_batches", m0022, sizeof m0022},
    {"0023_checks", m0023, sizeof m0023},
    {"0024_ends", m0024, sizeof m0024},
    {"0025_instances", m0025, sizeof m0025},
};

static const struct bw_embedded_file dashboard[] = {
    {"index.html", d_index_html, sizeof d_index_html},
    {"style.css", d_style_css, sizeof d_style_css},
    {"icon.svg", d_icon_svg, sizeof d_icon_svg},
    {"main.js", d_main_js, sizeof d_main_js},
    {"api.js", d_api_js, sizeof d_api_js},
    {"ui.js", d_ui_js, sizeof d_ui_js},
    {"charts.js", d_charts_js, sizeof d_charts_js},
    {"overview.js", d_overview_js, sizeof d_overview_js},
    {"breakers.js", d_breakers_js, sizeof d_breakers_js},
    {"limits.js", d_limits_js, sizeof d_limits_js},
    {"creations.js", d_creations_js, sizeof d_creations_js},
    {"sandboxes.js", d_sandboxes_js, sizeof d_sandboxes_js},
    {"tenants.js", d_tenants_js, sizeof d_tenants_js},
    {"alerts.js", d_alerts_js, sizeof d_alerts_js},
    {"jobs.js", d_jobs_js, sizeof d_jobs_js},
    {"events.js", d_events_js, sizeof d_events_js},
};

size_t bw_migration_count(void) { return sizeof migrations / sizeof migrations[0]; }

struct bw_embedded_file bw_migration(size_t index) { return migrations[index]; }

struct bw_embedded_file bw_contract(void) {
    return (struct bw_embedded_file){"breakwater.yaml", contract, sizeof contract};
}

size_t bw_dashboard_count(void) { return sizeof dashboard / sizeof dashboard[0]; }

struct bw_embedded_file bw_dashboard(size_t index) { return dashboard[index]; }
