/* Judges a text, and goes on with a row of tokens: two models in one program.
 *
 *   texts TEXT...      a line for each text, all judged at once: the class, its name and the bits of the confidence
 *   texts -n MAX       the tokens that follow 2 3 4, at most so many */

#include "gpt2.h"
#include "mood.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 16 };

static int told(void *context, const char *text, size_t bytes) {
    int *left = context;
    printf("[%.*s]", (int)bytes, text);
    return --*left == 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "-n")) {
        static const int32_t prompt[] = {2, 3, 4};
        int left = atoi(argv[2]);
        gpt2 *model;
        if (gpt2_create(&model, 1) != GPT2_OK || gpt2_generate_more(model, 3, prompt, 0, 0, told, &left) != GPT2_OK) {
            fprintf(stderr, "%s\n", gpt2_last_error());
            return 1;
        }
        printf("\n");
        gpt2_destroy(model);
        return 0;
    }
    int64_t n = argc - 1;
    int32_t labels[MOST];
    float confidences[MOST];
    mood *model;
    if (n > MOST || mood_create(&model, 1) != MOOD_OK) return 1;
    if (mood_predict_mood(model, n, (const char *const *)argv + 1, labels, confidences) != MOOD_OK) {
        fprintf(stderr, "%s\n", mood_last_error());
        return 1;
    }
    for (int64_t row = 0; row < n; row++) {
        uint32_t bits;
        memcpy(&bits, &confidences[row], sizeof bits);
        printf("%d %s %08x\n", labels[row], mood_label_name(model, labels[row]), bits);
    }
    if (mood_label_name(model, 2) || mood_label_name(model, -1)) return 1;
    mood_destroy(model);
    return 0;
}
