// libcurl with a typed function for each option that is used: curl_easy_setopt is variadic, and
// Swift does not import those.
#pragma once
#include <curl/curl.h>

static inline CURLcode bw_curl_set_text(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode bw_curl_set_number(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode bw_curl_set_list(CURL *handle, CURLoption option, struct curl_slist *value) {
    return curl_easy_setopt(handle, option, value);
}

typedef size_t (*bw_curl_writer)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode bw_curl_set_writer(CURL *handle, bw_curl_writer writer, void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, writer);
    return code != CURLE_OK ? code : curl_easy_setopt(handle, CURLOPT_WRITEDATA, context);
}

static inline long bw_curl_status(CURL *handle) {
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/// The body of a POST; libcurl keeps a copy. Set its size first.
static inline CURLcode bw_curl_set_copied(CURL *handle, const char *body) {
    return curl_easy_setopt(handle, CURLOPT_COPYPOSTFIELDS, body);
}
