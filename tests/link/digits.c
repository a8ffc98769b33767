/* Reads digits by the C functions of a model, as somebody's program would.
 *
 *   digits answers FILE ROWS BATCH THREADS   the label and the bits of the confidence of each row
 *   digits own FILE ROWS BATCH THREADS       the same from a model in memory of this program
 *   digits side-by-side FILE ROWS THREADS    as many threads, a model each, all the same answers
 *   digits count FILE CALLS                  what calls ask of the system, once the model has seen the size
 *   digits bench FILE CALLS                  how long a call takes, in microseconds: the median, and the p90
 *   digits wrong                             how each mistake is told
 *
 * FILE holds pictures of 28 × 28 bytes. For `count` it is linked with --wrap, so that the calls that it counts come here. */

#include "digits.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PIXELS = 28 * 28, MOST_ROWS = 1024 };

#ifdef COUNTED
static _Atomic long memory, locks, calls;

#define COUNT(counter, type, name, parameters, arguments) \
    type __real_##name parameters;                        \
    type __wrap_##name parameters {                       \
        counter++;                                        \
        return __real_##name arguments;                   \
    }
COUNT(memory, void *, malloc, (size_t n), (n))
COUNT(memory, void *, calloc, (size_t n, size_t m), (n, m))
COUNT(memory, void *, realloc, (void *p, size_t n), (p, n))
COUNT(memory, int, posix_memalign, (void **p, size_t a, size_t n), (p, a, n))
COUNT(memory, void *, mmap64, (void *p, size_t n, int a, int b, int c, long d), (p, n, a, b, c, d))
COUNT(locks, int, pthread_mutex_lock, (void *lock), (lock))
COUNT(calls, long, syscall, (long number, long a, long b, long c, long d, long e, long f), (number, a, b, c, d, e, f))
#endif

static void must(int code, const char *what) {
    if (code != DIGITS_OK) {
        fprintf(stderr, "%s: code %d: %s\n", what, code, digits_last_error());
        exit(1);
    }
}

static digits *created(int threads) {
    digits *model;
    must(digits_create(&model, threads), "create");
    return model;
}

static uint8_t *pictures(const char *path, int64_t rows) {
    uint8_t *bytes = malloc((size_t)rows * PIXELS);
    FILE *file = fopen(path, "rb");
    if (!bytes || !file || fread(bytes, PIXELS, (size_t)rows, file) != (size_t)rows) {
        fprintf(stderr, "%s does not hold %ld pictures\n", path, (long)rows);
        exit(1);
    }
    fclose(file);
    return bytes;
}

/* Answers all rows, so many at a time. */
static void answer(digits *model, const uint8_t *images, int64_t rows, int64_t batch, int32_t *labels, float *confidences) {
    for (int64_t row = 0; row < rows; row += batch) {
        int64_t n = rows - row < batch ? rows - row : batch;
        must(digits_predict_digit(model, n, images + row * PIXELS, labels + row, confidences + row), "predict");
    }
}

static void answers(const char *path, int64_t rows, int64_t batch, int threads) {
    static int32_t labels[MOST_ROWS];
    static float confidences[MOST_ROWS];
    uint8_t *images = pictures(path, rows);
    digits *model = created(threads);
    answer(model, images, rows, batch, labels, confidences);
    for (int64_t row = 0; row < rows; row++) {
        uint32_t bits;
        memcpy(&bits, &confidences[row], sizeof bits);
        printf("%ld %08x\n", (long)labels[row], bits);
    }
    digits_destroy(model);
    free(images);
}

/* A model in memory that this program owns, between bytes that nobody may touch. */
static void own(const char *path, int64_t rows, int64_t batch, int threads) {
    enum { EDGE = 64 };
    static int32_t labels[MOST_ROWS];
    static float confidences[MOST_ROWS];
    size_t bytes;
    digits *model;
    must(digits_memory(&bytes, threads, batch), "memory");
    uint8_t *memory = malloc(bytes + 2 * EDGE + 1);
    if (!memory) exit(1);
    memset(memory, 0xa5, bytes + 2 * EDGE + 1);
    /* It may begin anywhere. */
    must(digits_create_in(&model, threads, memory + EDGE + 1, bytes, batch), "create in memory");
    uint8_t *images = pictures(path, rows);
    answer(model, images, rows, batch, labels, confidences);
    for (int64_t row = 0; row < rows; row++) {
        uint32_t bits;
        memcpy(&bits, &confidences[row], sizeof bits);
        printf("%ld %08x\n", (long)labels[row], bits);
    }
    if (digits_predict_digit(model, 100 * batch, images, labels, confidences) != DIGITS_ENVIRONMENT) {
        fprintf(stderr, "more rows than there is memory for are not refused\n");
        exit(1);
    }
    digits_destroy(model);
    for (int i = 0; i < EDGE; i++) {
        if (memory[i] != 0xa5 || memory[EDGE + 1 + bytes + (size_t)i] != 0xa5) {
            fprintf(stderr, "the model has written beside its memory\n");
            exit(1);
        }
    }
    free(images);
    free(memory);
}

struct side {
    const uint8_t *images;
    int64_t rows;
    int32_t labels[MOST_ROWS];
    float confidences[MOST_ROWS];
};

/* A model of its own, and calls of several sizes beside those of the others. */
static void *one_side(void *given) {
    struct side *side = given;
    digits *model = created(1);
    for (int round = 0; round < 20; round++) {
        answer(model, side->images, side->rows, 1 + round % 3, side->labels, side->confidences);
    }
    answer(model, side->images, side->rows, side->rows, side->labels, side->confidences);
    digits_destroy(model);
    return NULL;
}

static void side_by_side(const char *path, int64_t rows, int count) {
    uint8_t *images = pictures(path, rows);
    struct side *sides = calloc((size_t)count, sizeof *sides);
    pthread_t *threads = calloc((size_t)count, sizeof *threads);
    for (int i = 0; i < count; i++) {
        sides[i].images = images;
        sides[i].rows = rows;
        if (pthread_create(&threads[i], NULL, one_side, &sides[i]) != 0) exit(1);
    }
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    for (int i = 1; i < count; i++) {
        if (memcmp(sides[i].labels, sides[0].labels, sizeof sides[0].labels) != 0 ||
            memcmp(sides[i].confidences, sides[0].confidences, sizeof sides[0].confidences) != 0) {
            fprintf(stderr, "thread %d answers otherwise\n", i);
            exit(1);
        }
    }
    printf("%d threads agree\n", count);
    free(threads);
    free(sides);
    free(images);
}

#ifdef COUNTED
static void count(const char *path, int called) {
    uint8_t *image = pictures(path, 1);
    int32_t label;
    float confidence;
    long before = memory;
    digits *model = created(1);
    long creating = memory - before;
    for (int i = 0; i < 3; i++) answer(model, image, 1, 1, &label, &confidence);
    long memory_before = memory, locks_before = locks, calls_before = calls;
    for (int i = 0; i < called; i++) answer(model, image, 1, 1, &label, &confidence);
    printf("creating: %s; %d calls: memory %ld, locks %ld, system %ld\n", creating > 0 ? "counted" : "not counted", called,
           memory - memory_before, locks - locks_before, calls - calls_before);
    digits_destroy(model);
    free(image);
}
#endif

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench(const char *path, int called) {
    uint8_t *image = pictures(path, 1);
    double *times = calloc((size_t)called, sizeof *times);
    int32_t label;
    float confidence;
    digits *model = created(1);
    for (int i = 0; i < 100; i++) answer(model, image, 1, 1, &label, &confidence);
    for (int i = 0; i < called; i++) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        answer(model, image, 1, 1, &label, &confidence);
        clock_gettime(CLOCK_MONOTONIC, &end);
        times[i] = (double)(end.tv_sec - start.tv_sec) * 1e6 + (double)(end.tv_nsec - start.tv_nsec) / 1e3;
    }
    qsort(times, (size_t)called, sizeof *times, by_size);
    printf("%d calls: median %.2f, p90 %.2f microseconds\n", called, times[called / 2], times[called * 9 / 10]);
    digits_destroy(model);
    free(times);
    free(image);
}

static void told(const char *what, int code) { printf("%s: %d: %s\n", what, code, digits_last_error()); }

static void wrong(void) {
    uint8_t image[PIXELS] = {0};
    int32_t label;
    float confidence;
    digits *model = NULL;
    printf("nothing failed: \"%s\"\n", digits_last_error());
    told("no place", digits_create(NULL, 1));
    told("threads", digits_create(&model, -3));
    printf("model: %s\n", model ? "there" : "none");
    told("no model", digits_predict_digit(NULL, 1, image, &label, &confidence));
    static uint8_t little[4096];
    size_t bytes;
    must(digits_memory(&bytes, 1, 1), "memory");
    printf("little memory: %d, enough: %d\n", digits_create_in(&model, 1, little, sizeof little, 1), bytes > sizeof little);
    told("no memory", digits_create_in(&model, 1, NULL, bytes, 1));
    told("no number", digits_memory(NULL, 1, 1));
    model = created(1);
    told("no image", digits_predict_digit(model, 1, NULL, &label, &confidence));
    told("no result", digits_predict_digit(model, 1, image, &label, NULL));
    told("size", digits_predict_digit(model, -1, image, &label, &confidence));
    told("too large", digits_predict_digit(model, INT64_MAX / 2, image, &label, &confidence));
    must(digits_predict_digit(model, 1, image, &label, &confidence), "after mistakes");
    must(digits_predict_digit(model, 0, NULL, NULL, NULL), "no rows");
    digits_destroy(model);
    digits_destroy(NULL);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (argc == 6 && !strcmp(what, "answers")) answers(argv[2], atol(argv[3]), atol(argv[4]), atoi(argv[5]));
    else if (argc == 6 && !strcmp(what, "own")) own(argv[2], atol(argv[3]), atol(argv[4]), atoi(argv[5]));
    else if (argc == 5 && !strcmp(what, "side-by-side")) side_by_side(argv[2], atol(argv[3]), atoi(argv[4]));
#ifdef COUNTED
    else if (argc == 4 && !strcmp(what, "count")) count(argv[2], atoi(argv[3]));
#endif
    else if (argc == 4 && !strcmp(what, "bench")) bench(argv[2], atoi(argv[3]));
    else if (argc == 2 && !strcmp(what, "wrong")) wrong();
    else {
        fprintf(stderr, "digits answers | own | side-by-side | count | bench | wrong\n");
        return 2;
    }
    return 0;
}
