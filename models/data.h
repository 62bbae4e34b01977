/* Whole labelled data sets in memory, for training and evaluation. Byte pixels become value/255 in float32. */
#ifndef EP_MODELS_DATA_H
#define EP_MODELS_DATA_H

#include "kernels/rng.h"
#include "kernels/status.h"

typedef struct ep_data {
  ep_ctx *ctx;
  size_t n, n_in;            /* samples; values per sample = c*h*w */
  uint32_t c, h, w, n_class; /* n_class = largest label + 1, at least 2 */
  float *x;                  /* [n][n_in] */
  uint32_t *label;
} ep_data;

typedef enum ep_data_part { EP_DATA_TRAIN, EP_DATA_TEST } ep_data_part;

/* What `path` may be: "fashion-mnist" (Debian's dataset-fashion-mnist); a folder with MNIST's four IDX files (also
 * .gz); a folder with CIFAR-10's binary batches; a folder of PNG files in one subfolder per class, numbered in the
 * order of the names (with train/ and test/ above them, or the same for both parts); an IDX, .npy or .csv file of
 * samples, with the labels in `labels` (IDX, .npy or .csv; NULL otherwise). One clear line for anything else, EP_E_IO,
 * EP_E_SYNTAX, EP_E_SHAPE. */
ep_status ep_data_load(ep_ctx *ctx, const char *path, const char *labels, ep_data_part part, ep_data *out);
void ep_data_clear(ep_data *d);

/* Copies sample `i` to out[n_in], moved by up to `shift` pixels each way (zeros come in) and mirrored half of the time
 * when is_flipped; both drawn from rng. */
void ep_data_augment(const ep_data *d, size_t i, uint32_t shift, bool is_flipped, ep_rng *rng, float *out);
/* A random order of 0..n-1. */
void ep_data_shuffle(uint32_t *order, size_t n, ep_rng *rng);
/* The split of n samples by `seed`: order[n], those to train on first; how many these are is returned (the others, a
 * share `validation` of all, are held back). */
size_t ep_data_split(size_t n, double validation, uint64_t seed, uint32_t *order);
/* Leaves the samples order[0..n) of d, in that order; n >= 1. */
ep_status ep_data_keep(ep_data *d, const uint32_t *order, size_t n);

#endif
