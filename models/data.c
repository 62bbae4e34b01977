#include "models/data.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "models/dataset.h"
#include "models/image_png.h"
#include "models/onnx_bytes.h"

#define MAX_FILE ((size_t)1 << 31)
enum { PATH = 4096, MAX_CLASSES = 1000, CIFAR_RECORD = 3073 };

void ep_data_clear(ep_data *d) {
  if (!d->ctx) return;
  ep_free(d->ctx, d->x);
  ep_free(d->ctx, d->label);
  *d = (ep_data){0};
}

static ep_status room(ep_data *d, size_t n) {
  d->n = n;
  d->n_in = (size_t)d->c * d->h * d->w;
  d->x = ep_alloc(d->ctx, (n * d->n_in + 1) * sizeof *d->x);
  d->label = ep_alloc(d->ctx, (n + 1) * sizeof *d->label);
  return d->x && d->label ? EP_OK : EP_E_NOMEM;
}

static void bytes_to_floats(size_t n, const uint8_t *p, float *x) {
  for (size_t i = 0; i < n; i++) x[i] = (float)p[i] / 255.0f;
}

static bool exists(const char *path) {
  struct stat s;
  return stat(path, &s) == 0;
}
static bool is_folder(const char *path) {
  struct stat s;
  return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

/* ---- IDX ---- */

typedef struct idx {
  uint8_t *bytes;
  const uint8_t *at;
  size_t rank, dim[4];
} idx;

static ep_status idx_read(ep_ctx *ctx, const char *path, idx *out) {
  size_t n, need = 1;
  *out = (idx){0};
  EP_TRY(ep_onnx_bytes_read(ctx, path, MAX_FILE, &out->bytes, &n));
  const uint8_t *p = out->bytes;
  out->rank = n >= 4 ? p[3] : 0;
  if (n < 4 || p[0] || p[1] || out->rank < 1 || out->rank > 4 || n < 4 + 4 * out->rank)
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: not an IDX file", path);
  if (p[2] != 8) return EP_FAIL(ctx, EP_E_UNSUPPORTED, "%s: IDX elements of type %#x, expected bytes", path, p[2]);
  for (size_t i = 0; i < out->rank; i++) {
    const uint8_t *q = p + 4 + 4 * i;
    out->dim[i] = (size_t)q[0] << 24 | (size_t)q[1] << 16 | (size_t)q[2] << 8 | q[3];
    if (!out->dim[i] || need > MAX_FILE / out->dim[i]) return EP_FAIL(ctx, EP_E_SYNTAX, "%s: bad IDX sizes", path);
    need *= out->dim[i];
  }
  out->at = p + 4 + 4 * out->rank;
  size_t have = n - 4 - 4 * out->rank;
  if (have < need)
    return EP_FAIL(ctx, EP_E_SYNTAX, "%s: truncated IDX file, %zu bytes of data, its header says %zu", path, have,
                   need);
  return EP_OK;
}

static ep_status idx_pair(ep_data *d, const char *images, const char *labels) {
  idx a = {0}, b = {0};
  ep_status st;
  EP_GOTO(idx_read(d->ctx, images, &a));
  EP_GOTO(idx_read(d->ctx, labels, &b));
  if (a.rank < 2 || b.rank != 1) {
    st = EP_FAIL(d->ctx, EP_E_SYNTAX, "%s: expected samples there and one label per sample in %s", images, labels);
    goto done;
  }
  if (a.dim[0] != b.dim[0]) {
    st = EP_FAIL(d->ctx, EP_E_SHAPE, "%s has %zu samples, %s %zu labels", images, a.dim[0], labels, b.dim[0]);
    goto done;
  }
  d->c = a.rank == 4 ? (uint32_t)a.dim[1] : 1;
  d->h = a.rank == 2 ? 1 : (uint32_t)a.dim[a.rank - 2];
  d->w = (uint32_t)a.dim[a.rank - 1];
  EP_GOTO(room(d, a.dim[0]));
  bytes_to_floats(d->n * d->n_in, a.at, d->x);
  for (size_t i = 0; i < d->n; i++) d->label[i] = b.at[i];
done:
  ep_free(d->ctx, a.bytes);
  ep_free(d->ctx, b.bytes);
  return st;
}

/* folder/name or folder/name.gz, whichever is there. */
static bool find_file(const char *folder, const char *name, char *path) {
  snprintf(path, PATH, "%.3900s/%s", folder, name);
  if (exists(path)) return true;
  snprintf(path, PATH, "%.3900s/%s.gz", folder, name);
  return exists(path);
}

/* ---- CIFAR-10: records of a label byte and 3 x 32 x 32 bytes ---- */

static ep_status cifar(ep_data *d, const char *folder, ep_data_part part) {
  static const char *const train[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                                      "data_batch_5.bin"};
  static const char *const test[] = {"test_batch.bin"};
  const char *const *name = part == EP_DATA_TRAIN ? train : test;
  size_t n_file = part == EP_DATA_TRAIN ? 5 : 1, at = 0, size[5];
  uint8_t *bytes[5] = {0};
  char path[PATH];
  ep_status st = EP_OK;
  d->c = 3;
  d->h = d->w = 32;
  for (size_t k = 0; k < n_file && st == EP_OK; k++) {
    snprintf(path, PATH, "%.3900s/%s", folder, name[k]);
    st = ep_onnx_bytes_read(d->ctx, path, MAX_FILE, &bytes[k], &size[k]);
    if (st == EP_OK && (size[k] % CIFAR_RECORD || !size[k]))
      st = EP_FAIL(d->ctx, EP_E_SYNTAX, "%s: %zu bytes, not a multiple of a record's %d", path, size[k], CIFAR_RECORD);
    if (st == EP_OK) at += size[k] / CIFAR_RECORD;
  }
  if (st == EP_OK) st = room(d, at);
  for (size_t k = 0, i = 0; k < n_file && st == EP_OK; k++)
    for (size_t r = 0; r < size[k]; r += CIFAR_RECORD, i++) {
      d->label[i] = bytes[k][r];
      bytes_to_floats(d->n_in, bytes[k] + r + 1, d->x + i * d->n_in);
    }
  for (size_t k = 0; k < n_file; k++) ep_free(d->ctx, bytes[k]);
  return st;
}

/* ---- PNG folders ---- */

static int visible(const struct dirent *e) { return e->d_name[0] != '.'; }

static void free_list(struct dirent **list, int n) {
  for (int i = 0; i < n; i++) free(list[i]);
  free(list);
}

static bool is_png(const char *name) {
  size_t n = strlen(name);
  return n > 4 && !strcmp(name + n - 4, ".png");
}

/* One image into place `at`; the first one sets the sizes. */
static ep_status png_one(ep_data *d, const char *path, uint32_t label, size_t at) {
  uint8_t *bytes;
  size_t n;
  double *x = NULL;
  uint32_t c, h, w;
  EP_TRY(ep_onnx_bytes_read(d->ctx, path, MAX_FILE, &bytes, &n));
  ep_status st = ep_image_png_decode(d->ctx, path, bytes, n, &x, &c, &h, &w);
  ep_free(d->ctx, bytes);
  EP_TRY(st);
  if (!d->n_in) {
    d->c = c;
    d->h = h;
    d->w = w;
    d->n_in = (size_t)c * h * w;
  }
  if (c != d->c || h != d->h || w != d->w)
    st = EP_FAIL(d->ctx, EP_E_SHAPE, "%s: %u x %u x %u, the first image is %u x %u x %u", path, c, h, w, d->c, d->h,
                 d->w);
  float *t = st == EP_OK ? ep_realloc(d->ctx, d->x, (at + 1) * d->n_in * sizeof *t) : NULL;
  uint32_t *l = t ? ep_realloc(d->ctx, d->label, (at + 1) * sizeof *l) : NULL;
  if (t) d->x = t;
  if (l) d->label = l;
  if (st == EP_OK && !l) st = EP_E_NOMEM;
  if (st == EP_OK) {
    double most = 255;
    for (size_t i = 0; i < d->n_in; i++)
      if (x[i] > 255) most = 65535;
    for (size_t i = 0; i < d->n_in; i++) d->x[at * d->n_in + i] = (float)(x[i] / most);
    d->label[at] = label;
    d->n = at + 1;
  }
  ep_free(d->ctx, x);
  return st;
}

static ep_status png_class(ep_data *d, const char *folder, uint32_t label) {
  struct dirent **list;
  int n = scandir(folder, &list, visible, alphasort);
  if (n < 0) return EP_FAIL(d->ctx, EP_E_IO, "%s: %s", folder, strerror(errno));
  ep_status st = EP_OK;
  char path[PATH + 300];
  for (int i = 0; i < n && st == EP_OK; i++) {
    snprintf(path, sizeof path, "%.4095s/%.255s", folder, list[i]->d_name);
    if (is_png(list[i]->d_name)) st = png_one(d, path, label, d->n);
  }
  free_list(list, n);
  return st;
}

static ep_status png_folders(ep_data *d, const char *folder, ep_data_part part) {
  char root[PATH], path[PATH + 300];
  snprintf(root, PATH, "%.3900s/%s", folder, part == EP_DATA_TRAIN ? "train" : "test");
  if (!is_folder(root)) snprintf(root, PATH, "%.3900s", folder);
  struct dirent **list;
  int n = scandir(root, &list, visible, alphasort);
  if (n < 0) return EP_FAIL(d->ctx, EP_E_IO, "%s: %s", root, strerror(errno));
  ep_status st = EP_OK;
  uint32_t label = 0;
  for (int i = 0; i < n && st == EP_OK; i++) {
    snprintf(path, sizeof path, "%.4095s/%.255s", root, list[i]->d_name);
    if (is_folder(path)) st = png_class(d, path, label++);
  }
  free_list(list, n);
  if (st == EP_OK && !d->n)
    st = EP_FAIL(d->ctx, EP_E_SYNTAX, "%s: no data set: expected IDX files, CIFAR-10 batches or folders of .png files",
                 folder);
  return st;
}

/* ---- single files, entry by entry ---- */

static bool has_suffix(const char *s, const char *suffix) {
  size_t n = strlen(s), k = strlen(suffix);
  return n > k && !strcmp(s + n - k, suffix);
}

/* .npy and .csv: as many entries as there are labels. */
static ep_status entries(ep_data *d, const char *path, const char *labels) {
  ep_sample all = {0}, y = {0};
  ep_status st;
  EP_GOTO(ep_dataset_read_all(d->ctx, labels, &y));
  EP_GOTO(ep_dataset_read_all(d->ctx, path, &all));
  if (!y.n || all.n % y.n) {
    st = EP_FAIL(d->ctx, EP_E_SHAPE, "%s: %zu values do not divide among %zu labels of %s", path, all.n, y.n, labels);
    goto done;
  }
  d->c = d->h = 1;
  d->w = (uint32_t)(all.n / y.n);
  for (uint32_t side = 1; side * side <= d->w; side++)
    if (side * side == d->w) d->h = side;
  d->w /= d->h;
  EP_GOTO(room(d, y.n));
  for (size_t i = 0; i < all.n; i++) d->x[i] = (float)all.x[i];
  for (size_t i = 0; i < y.n; i++) {
    if (!(y.x[i] >= 0 && y.x[i] < MAX_CLASSES) || y.x[i] != (double)(uint32_t)y.x[i]) {
      st = EP_FAIL(d->ctx, EP_E_SYNTAX, "%s: entry %zu is %g, no label", labels, i, y.x[i]);
      goto done;
    }
    d->label[i] = (uint32_t)y.x[i];
  }
done:
  ep_free(d->ctx, all.x);
  ep_free(d->ctx, y.x);
  return st;
}

static ep_status load(ep_data *d, const char *path, const char *labels, ep_data_part part) {
  char images[PATH], names[PATH];
  if (!strcmp(path, "fashion-mnist")) {
    path = "/usr/share/datasets/fashion-mnist";
    if (!is_folder(path))
      return EP_FAIL(d->ctx, EP_E_IO, "fashion-mnist is not installed (apt-get install dataset-fashion-mnist)");
  }
  if (is_folder(path)) {
    bool is_train = part == EP_DATA_TRAIN;
    if (find_file(path, is_train ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte", images) &&
        find_file(path, is_train ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte", names))
      return idx_pair(d, images, names);
    snprintf(images, PATH, "%.3900s/%s", path, is_train ? "data_batch_1.bin" : "test_batch.bin");
    return exists(images) ? cifar(d, path, part) : png_folders(d, path, part);
  }
  if (!exists(path)) return EP_FAIL(d->ctx, EP_E_IO, "%s: %s", path, strerror(errno));
  if (!labels) return EP_FAIL(d->ctx, EP_E_OPTION, "%s is a file: --labels FILE must say what its samples are", path);
  if (has_suffix(path, ".npy") || has_suffix(path, ".csv")) return entries(d, path, labels);
  return idx_pair(d, path, labels);
}

ep_status ep_data_load(ep_ctx *ctx, const char *path, const char *labels, ep_data_part part, ep_data *out) {
  *out = (ep_data){.ctx = ctx};
  ep_status st = load(out, path, labels, part);
  for (size_t i = 0; st == EP_OK && i < out->n; i++) {
    if (out->label[i] >= MAX_CLASSES)
      st = EP_FAIL(ctx, EP_E_SYNTAX, "%s: label %u of sample %zu, at most %d classes", path, out->label[i], i,
                   MAX_CLASSES);
    if (out->label[i] >= out->n_class) out->n_class = out->label[i] + 1;
  }
  if (out->n_class < 2) out->n_class = 2;
  for (size_t i = 0; st == EP_OK && i < out->n * out->n_in; i++)
    if (!(out->x[i] - out->x[i] == 0))
      st = EP_FAIL(ctx, EP_E_SYNTAX, "%s: value %zu of sample %zu is not finite", path, i % out->n_in, i / out->n_in);
  if (st != EP_OK) ep_data_clear(out);
  return st;
}

void ep_data_augment(const ep_data *d, size_t i, uint32_t shift, bool is_flipped, ep_rng *rng, float *out) {
  int32_t dy = 0, dx = 0;
  bool mirror = is_flipped && ep_rng_below(rng, 2);
  if (shift) {
    dy = (int32_t)ep_rng_below(rng, 2 * shift + 1) - (int32_t)shift;
    dx = (int32_t)ep_rng_below(rng, 2 * shift + 1) - (int32_t)shift;
  }
  const float *x = d->x + i * d->n_in;
  for (uint32_t c = 0; c < d->c; c++)
    for (int32_t h = 0; h < (int32_t)d->h; h++)
      for (int32_t w = 0; w < (int32_t)d->w; w++) {
        int32_t y = h + dy, v = (mirror ? (int32_t)d->w - 1 - w : w) + dx;
        bool is_in = y >= 0 && y < (int32_t)d->h && v >= 0 && v < (int32_t)d->w;
        *out++ = is_in ? x[((size_t)c * d->h + (size_t)y) * d->w + (size_t)v] : 0;
      }
}

void ep_data_shuffle(uint32_t *order, size_t n, ep_rng *rng) {
  assert(n < UINT32_MAX);
  for (size_t i = 0; i < n; i++) {
    size_t j = (size_t)ep_rng_below(rng, i + 1);
    order[i] = order[j];
    order[j] = (uint32_t)i;
  }
}

size_t ep_data_split(size_t n, double validation, uint64_t seed, uint32_t *order) {
  ep_rng rng;
  assert(validation >= 0 && validation < 1);
  ep_rng_seed_stream(&rng, seed, 1);
  ep_data_shuffle(order, n, &rng);
  return n - (size_t)(validation * (double)n);
}

ep_status ep_data_keep(ep_data *d, const uint32_t *order, size_t n) {
  ep_data all = *d;
  assert(n);
  ep_status st = room(d, n);
  for (size_t i = 0; i < n && st == EP_OK; i++) {
    assert(order[i] < all.n);
    memcpy(d->x + i * d->n_in, all.x + order[i] * d->n_in, d->n_in * sizeof *d->x);
    d->label[i] = all.label[order[i]];
  }
  ep_free(d->ctx, all.x);
  ep_free(d->ctx, all.label);
  return st;
}
