/* Joint hulls of ReLUs in a network (multi-neuron relaxation): which neurons go together, the octahedron that their
 * arguments lie in, and the rows that their hull adds to an encoding.
 *
 * A group has up to EP_JOINT_MAX_SOURCES sources, elements of one value, and ReLUs whose arguments are affine in them:
 * pre-activations of one layer themselves (unstable ones and active ones, which pass through), or, where a whole layer
 * reads at most two variables, these. Octahedra consist of certified bounds of the sources, of their sums and of their
 * differences; hulls and cuts are exact over them (encoders/hull.h), so every row that is added holds for every
 * behaviour of the network in the box. Part of the trusted base of `lp` and `milp` with --relaxation multi-neuron.
 * Singh et al. 2019 (kPoly), Mueller et al. 2022 (PRIMA). */
#ifndef EP_ENCODERS_JOINT_H
#define EP_ENCODERS_JOINT_H

#include "bounds/crown.h"
#include "encoders/hull.h"
#include "encoders/network.h"
#include "encoders/octahedron.h"

enum {
  EP_JOINT_MAX_SOURCES = EP_OCTAHEDRON_MAX,
  EP_JOINT_MAX_RELUS = 8,
  EP_JOINT_MAX_DIM = EP_JOINT_MAX_SOURCES + EP_JOINT_MAX_RELUS
};

typedef struct ep_joint {
  /* Sources are elements of src_value; ReLU k takes element relu[k] of arg_value to that of relu_value. */
  ep_vid src_value, arg_value, relu_value;
  uint32_t n_src, n_relu;
  uint32_t src[EP_JOINT_MAX_SOURCES], relu[EP_JOINT_MAX_RELUS];
  ep_hull *hull;
} ep_joint;

typedef struct ep_joints {
  ep_ctx *ctx;
  uint32_t n, cap;
  ep_joint *joint;
} ep_joints;

void ep_joints_init(ep_joints *js, ep_ctx *ctx);
void ep_joints_clear(ep_joints *js);

/* A certified lower bound of sum coef*element of `value` that is better than *lower, if there is one: a hook for
 * linear programs. @sound outward */
typedef ep_status (*ep_joint_bound)(void *arg, ep_vid value, uint32_t n, const uint32_t *element, const double *coef,
                                    double *lower);

typedef struct ep_joint_opt {
  uint32_t size;          /* sources per group of pre-activations, 2 or 3 */
  uint32_t most;          /* unstable neurons per layer that get groups: those with the largest triangles */
  ep_joint_bound improve; /* NULL = back-substitution alone */
  void *arg;
  double until_s; /* no more groups after this monotonic time; 0 = no limit */
} ep_joint_opt;

/* Adds the groups of ReLU node k; `bounds` and `relax` (batch 1) belong together and are certified.
 * @sound outward */
ep_status ep_joints_add_layer(ep_joints *js, const ep_plan *plan, const ep_trace_itv *bounds, const ep_relax_f64 *relax,
                              uint32_t k, const ep_joint_opt *opt, ep_scratch *s);
/* Adds to net's problem a row for every group whose hull the point x[n_var] violates by more than a tolerance (1e-6,
 * relative for large numbers); *n_added of them. Groups that net does not reach are left out. @sound outward */
ep_status ep_joints_separate(const ep_joints *js, ep_network *net, const double *x, uint32_t *n_added);

#endif
