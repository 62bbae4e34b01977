/* Formulas of a VNN-LIB query as disjunctions of conjunctions, and from there the boxes and polytopes of query.h. */
#ifndef EP_VERIFIER_VNNLIB_DNF_H
#define EP_VERIFIER_VNNLIB_DNF_H

#include "verifier/query.h"
#include "verifier/vnnlib_box.h"
#include "verifier/vnnlib_lex.h"

/* A conjunction of atoms; none = true. */
typedef struct ep_vnn_conj {
  uint32_t n, cap;
  ep_vnn_atom *a;
} ep_vnn_conj;

/* A disjunction of conjunctions; none = false. */
typedef struct ep_vnn_dnf {
  uint32_t n, cap;
  ep_vnn_conj *c;
} ep_vnn_dnf;

/* Where formulas live, and what they may take. */
typedef struct ep_vnn_store {
  ep_lex *lex; /* for the place and the file's name in messages */
  ep_arena arena;
  const ep_query_declared *declared; /* names of VNN-LIB 2's tensors for messages, or NULL */
  uint64_t n_joined;                 /* atoms copied by ep_vnn_dnf_join so far, at most EP_VNNLIB_MAX_JOINED */
} ep_vnn_store;

/* Makes room for element n of an arena array. */
ep_status ep_vnn_dnf_grow(ep_vnn_store *s, void **array, uint32_t *cap, uint32_t n, size_t size);
ep_status ep_vnn_dnf_add_atom(ep_vnn_store *s, ep_vnn_conj *c, const ep_vnn_atom *a);
/* The atoms are shared, not copied. EP_E_UNSUPPORTED beyond EP_VNNLIB_MAX_CONJUNCTS. */
ep_status ep_vnn_dnf_add_conj(ep_vnn_store *s, ep_vnn_dnf *d, const ep_vnn_conj *c);
/* d = d and e, by distributing. `e` may become part of d and must not change afterwards. */
ep_status ep_vnn_dnf_join(ep_vnn_store *s, ep_vnn_dnf *d, const ep_vnn_dnf *e);
/* All assertions together in the normal form of query.h: bounds on single inputs narrow boxes, disjuncts with the same
 * box share it, everything else becomes rows. EP_E_SYNTAX when an input is unbounded. */
ep_status ep_vnn_dnf_build(ep_vnn_store *s, const ep_vnn_dnf *asserts, size_t n_assert, uint32_t n_x, uint32_t n_y,
                           ep_query_builder *qb);

#endif
