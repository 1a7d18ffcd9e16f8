// libcurl with a typed function for each kind of option that is used: curl_easy_setopt is variadic,
// and Swift does not import those.
#pragma once
#include <curl/curl.h>

static inline CURLcode bw_curl_set_text(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode bw_curl_set_number(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode bw_curl_set_size(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode bw_curl_set_list(CURL *handle, CURLoption option, struct curl_slist *value) {
    return curl_easy_setopt(handle, option, value);
}

/// 256 octets of the caller's, where libcurl writes what went wrong.
static inline CURLcode bw_curl_set_error_buffer(CURL *handle, char *buffer) {
    return curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, buffer);
}

typedef size_t (*bw_curl_writer)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode bw_curl_set_writer(CURL *handle, bw_curl_writer writer, void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, writer);
    return code != CURLE_OK ? code : curl_easy_setopt(handle, CURLOPT_WRITEDATA, context);
}

static inline CURLcode bw_curl_set_head_writer(CURL *handle, bw_curl_writer writer, void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, writer);
    return code != CURLE_OK ? code : curl_easy_setopt(handle, CURLOPT_HEADERDATA, context);
}

static inline CURLcode bw_curl_set_reader(CURL *handle, bw_curl_writer reader, void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_READFUNCTION, reader);
    return code != CURLE_OK ? code : curl_easy_setopt(handle, CURLOPT_READDATA, context);
}

static inline CURLcode bw_curl_set_seeker(
    CURL *handle, int (*seek)(void *context, curl_off_t offset, int origin), void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, seek);
    return code != CURLE_OK ? code : curl_easy_setopt(handle, CURLOPT_SEEKDATA, context);
}

/// Called for each address that is about to be connected to; answers a socket, or -1 to refuse it.
static inline CURLcode bw_curl_set_socket_opener(
    CURL *handle,
    curl_socket_t (*opener)(void *context, curlsocktype purpose, struct curl_sockaddr *address),
    void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, opener);
    return code != CURLE_OK ? code : curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, context);
}

/// Called before each look-up of a name that is not in libcurl's memory.
static inline CURLcode bw_curl_set_lookup_watch(
    CURL *handle, int (*watch)(void *state, void *reserved, void *context), void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_RESOLVER_START_FUNCTION, watch);
    return code != CURLE_OK ? code : curl_easy_setopt(handle, CURLOPT_RESOLVER_START_DATA, context);
}

/// Called when a TLS handshake is about to begin on a connected socket.
static inline CURLcode bw_curl_set_tls_watch(
    CURL *handle, CURLcode (*watch)(CURL *handle, void *tls, void *context), void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_SSL_CTX_FUNCTION, watch);
    return code != CURLE_OK ? code : curl_easy_setopt(handle, CURLOPT_SSL_CTX_DATA, context);
}

/// Called when a connection is there and before anything of a request goes out on it; 1 forbids it.
static inline CURLcode bw_curl_set_request_gate(
    CURL *handle,
    int (*gate)(void *context, char *peer, char *local, int peer_port, int local_port),
    void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_PREREQFUNCTION, gate);
    return code != CURLE_OK ? code : curl_easy_setopt(handle, CURLOPT_PREREQDATA, context);
}

/// http and https alone.
static inline CURLcode bw_curl_set_http_only(CURL *handle) {
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    return curl_easy_setopt(
        handle, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

/// A look-up that is given up is left to its thread. Without it (libcurl before 7.87) removing the
/// call waits for that thread.
static inline CURLcode bw_curl_set_quick_exit(CURL *handle) {
#if LIBCURL_VERSION_NUM >= 0x075700
    return curl_easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);
#else
    return CURLE_OK;
#endif
}

static inline long bw_curl_status(CURL *handle) {
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/// A number that libcurl knows of a transfer; 0 if it knows none.
static inline long bw_curl_number(CURL *handle, CURLINFO info) {
    long value = 0;
    return curl_easy_getinfo(handle, info, &value) == CURLE_OK ? value : 0;
}

/// The body of a POST; libcurl keeps a copy. Set its size first.
static inline CURLcode bw_curl_set_copied(CURL *handle, const char *body) {
    return curl_easy_setopt(handle, CURLOPT_COPYPOSTFIELDS, body);
}

static inline CURLMcode bw_curl_multi_set_number(CURLM *multi, CURLMoption option, long value) {
    return curl_multi_setopt(multi, option, value);
}

/// Called when a descriptor is to be watched otherwise. A null function takes it off.
static inline CURLMcode bw_curl_multi_set_socket_watch(
    CURLM *multi,
    int (*watch)(CURL *handle, curl_socket_t socket, int what, void *context, void *mark),
    void *context) {
    CURLMcode code = curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch);
    return code != CURLM_OK ? code : curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, context);
}

/// Called when libcurl's one timer is to be set, in milliseconds, or cleared (-1).
static inline CURLMcode bw_curl_multi_set_timer(
    CURLM *multi, int (*timer)(CURLM *multi, long milliseconds, void *context), void *context) {
    CURLMcode code = curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer);
    return code != CURLM_OK ? code : curl_multi_setopt(multi, CURLMOPT_TIMERDATA, context);
}
