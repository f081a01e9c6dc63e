/* clock.h - clocks. Deadlines are monotonic nanoseconds (CLOCK_BOOTTIME, so that they go on in
 * suspend); wall clock is milliseconds since 1970 and only for people and records. */
#ifndef SMX_BASE_CLOCK_H
#define SMX_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define SMX_NS_PER_MS UINT64_C(1000000)
#define SMX_NS_PER_S UINT64_C(1000000000)
#define SMX_FOREVER UINT64_MAX

uint64_t smx_now_ns(void);
int64_t smx_now_unix_ms(void);
int64_t smx_now_unix_ns(void);
/* Saturating: SMX_FOREVER stays forever. */
uint64_t smx_deadline_in_ms(uint64_t ms);

enum { SMX_RFC3339_SIZE = 32 };
/* 2026-11-25T17:12:23.042Z */
void smx_rfc3339_format(char out[SMX_RFC3339_SIZE], int64_t unix_ms);
/* 2026-11-25T17:12:23.042013007Z */
void smx_rfc3339_format_ns(char out[SMX_RFC3339_SIZE], int64_t unix_ns);
/* 2026-11-25T17:12:23Z, as the runtime API documents. */
void smx_rfc3339_format_s(char out[SMX_RFC3339_SIZE], int64_t unix_ms);
bool smx_rfc3339_parse(const char *s, int64_t *ret_unix_ms);
bool smx_rfc3339_parse_ns(const char *s, int64_t *ret_unix_ns);

#endif
