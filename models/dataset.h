/* Inputs from files: one sample of an IDX data set (optionally gzipped), a NumPy .npy array, a CSV line, or a PNG
 * image, as raw float64 values in the order the network expects (channels first for images). */
#ifndef EP_MODELS_DATASET_H
#define EP_MODELS_DATASET_H

#include <stdio.h>

#include "kernels/status.h"

/* One sample; `x` is the caller's (ep_free). */
typedef struct ep_sample {
  size_t n;
  double *x;
  uint32_t channels; /* 1 where the file does not say */
} ep_sample;

/* Reads entry `index` of `path`; the kind follows from the suffix (.npy, .csv, .png; anything else is IDX). An
 * .npy array is cut into entries of `n_expected` values, a .png is entry 0 (image_png.h: values as stored); n_expected
 * 0 = whatever is there. One clear line for every file that does not fit. */
ep_status ep_dataset_read(ep_ctx *ctx, const char *path, size_t index, size_t n_expected, ep_sample *out);
/* Every value of an IDX, .npy or .csv file, in order. */
ep_status ep_dataset_read_all(ep_ctx *ctx, const char *path, ep_sample *out);
/* Label number `index` of an IDX label file (or of any of the above with one value per entry). */
ep_status ep_dataset_label(ep_ctx *ctx, const char *path, size_t index, uint32_t *out);
/* Writes the header of an .npy file in C order; `descr` as NumPy has it ("<f4"). Failures show in ferror(f). */
void ep_dataset_npy_head(FILE *f, const char *descr, size_t rank, const uint32_t *shape);
/* Writes x[shape[0] x .. x shape[rank-1]] as an .npy array of float32. EP_E_IO with the path otherwise. */
ep_status ep_dataset_write_npy(ep_ctx *ctx, const char *path, size_t rank, const uint32_t *shape, const float *x);

#endif
