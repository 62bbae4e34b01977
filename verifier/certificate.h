/* Certificates of `unsat` as files (docs/certificate.md): sections collected while engines run, written once everything
 * is proved. Checked by the independent program in checker/. Not trusted. */
#ifndef EP_VERIFIER_CERTIFICATE_H
#define EP_VERIFIER_CERTIFICATE_H

#include "bounds/proof.h"
#include "verifier/query.h"

typedef struct ep_certificate ep_certificate;

/* EP_E_UNSUPPORTED for a network that certificates do not cover. */
ep_status ep_certificate_create(ep_ctx *ctx, const ep_graph *g, const ep_query *q, bool is_float32,
                                ep_certificate **out);
void ep_certificate_destroy(ep_certificate *c);

/* Intervals alone refute row `row` of the polytope. */
ep_status ep_certificate_add_interval(ep_certificate *c, uint32_t box, uint32_t poly, uint32_t row);
/* What was recorded over one box, up to the last polytope refuted; nothing when none was. */
ep_status ep_certificate_add_neurons(ep_certificate *c, uint32_t box, const ep_proof *proof);
/* A tree of input boxes, encoded by verifier/split_record.c, that refutes the polytopes with is_subject. */
ep_status ep_certificate_add_splits(ep_certificate *c, uint32_t box, uint32_t n_poly, const bool *is_subject,
                                    const ep_bytes *tree);
/* Writes the file, compressed; *n_bytes = its size. */
ep_status ep_certificate_write(const ep_certificate *c, const char *path, uint64_t *n_bytes);

#endif
