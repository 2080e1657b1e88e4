// RankDVQA's score of a block of frames, from planes of luma and chroma, on one core.
//
// How it goes. Rows stream: a row of a picture becomes RGB, runs as far through the extractor's convolutions as the rows
// around it allow, and is forgotten; each layer keeps the last four of its input in a ring. What a stage puts out is brought
// to unit length and kept for the comparison. All frames of both clips go forward by a strip of rows, then every row of
// attention windows that is complete is compared and summed up, and its features make room for the next.
//
// How numbers lie. A lane is a pixel, and its 32-bit word holds one channel as float, two as int16 or four as bytes, so
// weights are broadcast and odd widths cost nothing. See `Layout` for where a column is found in a row.
//
// What was folded before (fold.py): range shift, means and scales into the weights; query times key, and projection times
// value, into one matrix each; the last convolution, the head and the mean over positions into one weight a position.
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <sys/mman.h>

#include "lanes.h"

#define UNROLL _Pragma("GCC unroll 16")
#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE
#endif

namespace {

using L = Lanes;
using Int = L::Int;
using Float = L::Float;
using Word = uint32_t;

constexpr int N = L::N;
constexpr int STEP = 2 * N;  // pixels that a convolution makes at once
constexpr int STEPS = 8;     // so many times before they are packed for the next layer
constexpr int ROOM = STEPS * STEP + 16;  // floats of a channel in between; no power of two, which caches dislike
constexpr int LEFT = 16;     // words before column 0: column -1 is read, and column 0 stays aligned
constexpr int WINDOW = 4;    // side of an attention window
constexpr int RING = 4;      // rows that a ring holds: three that are read and one that is written
constexpr float SLOPE = 0.1f;
constexpr float GELU[] = {2.888699176e-11f, -3.181346520e-09f, 1.540990269e-07f, -4.350938070e-06f, 8.024768613e-05f, -1.029584673e-03f, 9.555138648e-03f, -6.593023986e-02f, 3.986791670e-01f};
constexpr float TINY = 1.17549435e-38f;  // the energy of a position without features
constexpr float WHITE = 16384;  // what the first convolution's weights take white for, where it is a whole number

int round_up(int x, int to) { return (x + to - 1) / to * to; }

// --- Memory ----------------------------------------------------------------------------------------------------------

// Hands out words from a few large pieces, in large pages where the system has them: rows are read from many places at once.
class Memory {
    struct Free { void operator()(void* p) const { std::free(p); } };
    std::vector<std::unique_ptr<void, Free>> pieces_;
    Word* at_ = nullptr;
    size_t left_ = 0;
    static constexpr size_t PAGE = size_t(2) << 20;

   public:
    Word* take(size_t words, Word value) {
        words = (words + 15) / 16 * 16 + 48;  // lines of caches, and not all on the same ones
        if (words > left_) {
            size_t bytes = (std::max(words * sizeof(Word), 2 * PAGE) + PAGE - 1) / PAGE * PAGE;
            void* piece = nullptr;
            if (posix_memalign(&piece, PAGE, bytes)) throw std::bad_alloc();
            pieces_.emplace_back(piece);
#if defined(MADV_HUGEPAGE)
            madvise(piece, bytes, MADV_HUGEPAGE);
#endif
            at_ = (Word*)piece;
            left_ = bytes / sizeof(Word);
        }
        Word* from = at_;
        std::fill_n(from, words, value);
        at_ += words;
        left_ -= words;
        return from;
    }
};

// --- What a word holds ----------------------------------------------------------------------------------------------

enum Kind { FLOAT = 0, SHORTS = 1, BYTES = 2 };

int channels_of(Kind kind) { return kind == FLOAT ? 1 : kind == SHORTS ? 2 : 4; }

struct Floats {
    using Sum = Float;
    using Word = Float;
    static constexpr int WEIGHT_WORDS = 1;
    static Sum zero() { return L::all_f(0); }
    static Word take(Int x) { return L::as_float(x); }
    static Sum dot(Sum sum, Word x, const ::Word* w) {
        float weight;
        std::memcpy(&weight, w, sizeof weight);
        return L::fma(x, L::all_f(weight), sum);
    }
    static Int difference(Int a, Int b) { return L::as_int(L::abs(L::sub(L::as_float(a), L::as_float(b)))); }
    static Float to_float(Sum x) { return x; }
};

struct Shorts {
    using Sum = Int;
    using Word = Int;
    static constexpr int WEIGHT_WORDS = 1;
    static Sum zero() { return L::all(0); }
    static Word take(Int x) { return x; }
    static Sum dot(Sum sum, Word x, const ::Word* w) { return L::dot_shorts(sum, x, w); }
    static Float to_float(Sum x) { return L::to_float(x); }
};

struct Bytes {
    using Sum = Int;
    using Word = L::Bytes;
    static constexpr int WEIGHT_WORDS = L::BYTE_WEIGHT_WORDS;
    static Sum zero() { return L::all(0); }
    static Word take(Int x) { return L::bytes(x); }
    static Sum dot(Sum sum, Word x, const ::Word* w) { return L::dot_bytes(sum, x, w); }
    static Int difference(Int a, Int b) { return L::difference_of_bytes(a, b); }
    static Float to_float(Sum x) { return L::to_float(x); }
};

int weight_words(Kind kind) { return kind == BYTES ? Bytes::WEIGHT_WORDS : 1; }

// One weight as the instruction set wants it: where bytes are multiplied as int16, bytes 0 and 2, then 1 and 3.
void put_weight(std::vector<Word>& to, Kind kind, Word word) {
    if (weight_words(kind) == 1) {
        to.push_back(word);
        return;
    }
    auto part = [&](int k) { return Word(uint16_t(int16_t(int8_t(word >> (8 * k))))); };
    to.push_back(part(0) | part(2) << 16);
    to.push_back(part(1) | part(3) << 16);
}

// --- Where a column is found ----------------------------------------------------------------------------------------

// A row is [group of channels][part][stride]; column x is word LEFT + x / parts of part x % parts. One part is a plain
// row; two parts make the steps of a convolution of stride two neighbours; four make a column of windows one vector.
struct Layout {
    int groups = 0, parts = 1, width = 0, stride = 0;
    Layout() = default;
    Layout(int groups, int parts, int width) : groups(groups), parts(parts), width(width) {
        stride = round_up((width + parts - 1) / parts, STEP) + LEFT + 2 * STEP;
    }
    size_t words() const { return size_t(groups) * parts * stride; }
    size_t at(int group, int x) const {
        int part = ((x % parts) + parts) % parts;
        return size_t(group * parts + part) * stride + LEFT + (x - part) / parts;
    }
};

// Columns x to x + STEP of one group.
inline void put(Word* row, const Layout& to, int group, int x, Int a, Int b) {
    Word* base = row + size_t(group) * to.parts * to.stride + LEFT + x / to.parts;
    if (to.parts == 1) {
        L::store(base, a);
        L::store(base + N, b);
        return;
    }
    Int first, second;
    if (to.parts == 2) {
        L::deinterleave(a, b, first, second);
        L::store(base, first);
        L::store(base + to.stride, second);
        return;
    }
    L::quarter(a, b, first, second);
    L::store_halves(base, base + size_t(to.stride), first);
    L::store_halves(base + 2 * size_t(to.stride), base + 3 * size_t(to.stride), second);
}

struct Ring {
    Layout layout;
    Word* words;
    std::vector<Word> border;  // one word a group: what stands for zero outside of the picture
    Ring(Layout layout, const std::vector<Word>& border, Memory& memory) : layout(layout), border(border) {
        words = memory.take(layout.words() * (RING + 1), 0);
        for (int row = 0; row <= RING; row++)
            for (int g = 0; g < layout.groups; g++) {
                Word* from = words + row * layout.words() + layout.at(g, 0) - LEFT;
                std::fill_n(from, size_t(layout.parts) * layout.stride, border[g]);
            }
    }
    Word* row(int y) { return words + size_t(y & (RING - 1)) * layout.words(); }
    const Word* row_or_border(int y, int height) {
        return y < 0 || y >= height ? words + RING * layout.words() : row(y);
    }
    void close(Word* row) const {  // the column after the last was overwritten: rows are made in steps
        for (int g = 0; g < layout.groups; g++) row[layout.at(g, layout.width)] = border[g];
    }
};

// --- Convolutions ---------------------------------------------------------------------------------------------------

struct Convolution {
    Kind in, out;
    int channels_in, channels, groups;
    std::vector<Word> weights;        // blocks of channels, in each [group][row][column][channel]
    std::vector<float> scale, bias;   // sums to what the layer puts out, before the LeakyReLU
    std::vector<float> up, zero;      // what it puts out to what the next layer reads
    std::vector<Word> border;         // of its input
};

// The channels that are made at once, of those that are left: as many as registers hold, in blocks that are alike.
int block_of(int left, int most) {
    int blocks = (left + most - 1) / most;
    return (left + blocks - 1) / blocks;
}

struct Taps {
    const Word* rows[3];
    int group_stride, part_stride;
};

// OUTPUTS channels of `steps` times STEP pixels, as floats after the LeakyReLU: out[channel][ROOM].
template <class K, int OUTPUTS, int STRIDE>
NOINLINE void convolve(const Taps& taps, int steps, int groups, const Word* weights, const float* scale,
                       const float* bias, float* out) {
    // Few channels leave registers for more pixels, so that each weight is read less often; the last step may be too much.
    constexpr int VECTORS = 3 * OUTPUTS <= L::MOST_OUTPUTS ? 4 : 2;
    const Float slope = L::all_f(SLOPE);
    for (int x = 0; x < steps * STEP; x += VECTORS * N) {
        const Word* w = weights;
        typename K::Sum sum[OUTPUTS][VECTORS];
        UNROLL for (int o = 0; o < OUTPUTS; o++)
            UNROLL for (int v = 0; v < VECTORS; v++) sum[o][v] = K::zero();
        for (int g = 0; g < groups; g++)
            UNROLL for (int ky = 0; ky < 3; ky++) {
                const Word* row = taps.rows[ky] + size_t(g) * taps.group_stride + x;
                UNROLL for (int kx = 0; kx < 3; kx++) {
                    // Stride two: columns 2x - 1 and 2x + 1 lie in the odd part, at x - 1 and x.
                    const Word* from = STRIDE == 1 ? row + kx - 1 : kx == 1 ? row : row + taps.part_stride - (kx == 0);
                    typename K::Word pixels[VECTORS];
                    UNROLL for (int v = 0; v < VECTORS; v++) pixels[v] = K::take(L::load(from + v * N));
                    UNROLL for (int o = 0; o < OUTPUTS; o++)
                        UNROLL for (int v = 0; v < VECTORS; v++)
                            sum[o][v] = K::dot(sum[o][v], pixels[v], w + o * K::WEIGHT_WORDS);
                    w += OUTPUTS * K::WEIGHT_WORDS;
                }
            }
        UNROLL for (int o = 0; o < OUTPUTS; o++)
            UNROLL for (int v = 0; v < VECTORS; v++) {
                Float value = L::fma(K::to_float(sum[o][v]), L::all_f(scale[o]), L::all_f(bias[o]));
                L::store_f(out + o * ROOM + x + v * N, L::max(value, L::mul(value, slope)));
            }
    }
}

using Convolve = void (*)(const Taps&, int, int, const Word*, const float*, const float*, float*);

template <class K, int STRIDE> Convolve convolve_of(int outputs) {
    switch (outputs) {
#define IF_IT_FITS(size) case size: return convolve<K, size <= L::MOST_OUTPUTS ? size : 1, STRIDE>;
        IF_IT_FITS(1) IF_IT_FITS(2) IF_IT_FITS(3) IF_IT_FITS(4) IF_IT_FITS(5) IF_IT_FITS(6)
        IF_IT_FITS(7) IF_IT_FITS(8) IF_IT_FITS(9) IF_IT_FITS(10) IF_IT_FITS(11) IF_IT_FITS(12)
#undef IF_IT_FITS
    }
    return nullptr;
}

template <int STRIDE> Convolve convolve_of(Kind kind, int outputs) {
    if (kind == FLOAT) return convolve_of<Floats, STRIDE>(outputs);
    if (kind == SHORTS) return convolve_of<Shorts, STRIDE>(outputs);
    return convolve_of<Bytes, STRIDE>(outputs);
}

// All channels of some steps.
template <int STRIDE>
void convolve_all(const Convolution& c, const Taps& taps, int steps, const float* scale, float* out) {
    const Word* w = c.weights.data();
    for (int o = 0; o < c.channels;) {
        int block = block_of(c.channels - o, L::MOST_OUTPUTS);
        convolve_of<STRIDE>(c.in, block)(taps, steps, c.groups, w, scale + o, &c.bias[o], out + o * ROOM);
        w += size_t(c.groups) * 9 * block * weight_words(c.in);
        o += block;
    }
}

// Channels of some steps, packed for the next layer to columns x and on of its row. `up` and `zero` have zeros after the
// last channel, so that what stands there in `from` does not matter.
NOINLINE void pack(Kind kind, int channels, const float* from, int steps, const float* up, const float* zero, Word* row,
                   const Layout& to, int x) {
    if (kind == FLOAT) {
        for (int c = 0; c < channels; c++)
            for (int i = 0; i < steps * STEP; i += STEP)
                put(row, to, c, x + i, L::as_int(L::load_f(from + c * ROOM + i)),
                    L::as_int(L::load_f(from + c * ROOM + i + N)));
        return;
    }
    const int together = channels_of(kind);
    for (int g = 0, c = 0; c < channels; g++, c += together) {
        Float factor[4], shift[4];
        for (int k = 0; k < together; k++) factor[k] = L::all_f(up[c + k]), shift[k] = L::all_f(zero[c + k]);
        const float* at = from + c * ROOM;
        auto code = [&](int k, int i) { return L::fma(L::load_f(at + k * ROOM + i), factor[k], shift[k]); };
        if (kind == SHORTS)
            for (int i = 0; i < steps * STEP; i += STEP)
                put(row, to, g, x + i, L::pack_shorts(code(0, i), code(1, i)),
                    L::pack_shorts(code(0, i + N), code(1, i + N)));
        else
            for (int i = 0; i < steps * STEP; i += STEP)
                put(row, to, g, x + i, L::pack_bytes(code(0, i), code(1, i), code(2, i), code(3, i)),
                    L::pack_bytes(code(0, i + N), code(1, i + N), code(2, i + N), code(3, i + N)));
    }
}

// --- Features: vectors of unit length, as the comparison reads them ---------------------------------------------------

constexpr Word BYTE_ZERO = 0x80808080u;  // bytes are 127 times a unit vector, plus 128

struct Features {  // of one scale and one side
    Layout layout;
    int frames = 0, height = 0, held = 0;
    Word* words = nullptr;  // [row, in a ring of `held`][frame][row's words]
    Features(Layout layout, int frames, int height, int held, Word zero, Memory& memory)
        : layout(layout), frames(frames), height(height), held(held) {
        words = memory.take(size_t(held) * frames * layout.words(), zero);
    }
    Word* row(int y, int frame) { return words + (size_t(y % held) * frames + frame) * layout.words(); }
    const Word* row(int y) const { return words + size_t(y % held) * frames * layout.words(); }
};

NOINLINE void put_features(Kind kind, int channels, const float* from, int steps, Word* row, const Layout& to, int x) {
    const Float middle = L::all_f(kind == BYTES ? 128 : 0), length = L::all_f(kind == BYTES ? 127 : 1);
    for (int i = 0; i < steps * STEP; i += STEP, from += STEP) {
        Float energy[2] = {L::all_f(TINY), L::all_f(TINY)};
        for (int c = 0; c < channels; c++)
            UNROLL for (int half = 0; half < 2; half++) {
                Float value = L::load_f(from + c * ROOM + half * N);
                energy[half] = L::fma(value, value, energy[half]);
            }
        Float factor[2];
        UNROLL for (int half = 0; half < 2; half++) factor[half] = L::mul(L::inverse_root(energy[half]), length);
        auto unit = [&](int channel, int half) {
            return L::fma(L::load_f(from + channel * ROOM + half * N), factor[half], middle);
        };
        if (kind == FLOAT)
            for (int c = 0; c < channels; c++) put(row, to, c, x + i, L::as_int(unit(c, 0)), L::as_int(unit(c, 1)));
        else
            for (int g = 0, c = 0; c < channels; g++, c += 4)
                put(row, to, g, x + i, L::pack_bytes(unit(c, 0), unit(c + 1, 0), unit(c + 2, 0), unit(c + 3, 0)),
                    L::pack_bytes(unit(c, 1), unit(c + 1, 1), unit(c + 2, 1), unit(c + 3, 1)));
    }
}

// Whole windows only: mirrored on the right, then zeros as far as vectors reach.
void close_features(Word* row, const Layout& layout, int width, Word zero) {
    int whole = round_up(width, WINDOW), windows = whole / WINDOW;
    for (int g = 0; g < layout.groups; g++) {
        for (int x = width; x < whole; x++) row[layout.at(g, x)] = row[layout.at(g, 2 * (width - 1) - x)];
        for (int part = 0; part < WINDOW; part++) {
            Word* from = row + layout.at(g, part);
            std::fill(from + windows, from + (layout.stride - LEFT), zero);
        }
    }
}

// --- Comparison of a scale ------------------------------------------------------------------------------------------

struct Scale {
    Kind kind;
    int channels, groups, merged, heads, hidden;
    std::vector<Word> weights;       // of conv_in: blocks of outputs, [frame][group][row][ref, dis, |ref - dis|][column][output]
    std::vector<float> scale, bias;  // its sums to tokens
    std::vector<float> query_key, query_bias;    // [head][token's channel][channel], [head][channel]
    std::vector<float> project_value, project_bias;  // [head][mixed channel][channel], [channel]
    std::vector<float> position;                 // [head][position][position]
    std::vector<float> first, first_bias;        // [hidden][channel], [hidden]
    std::vector<float> second, second_bias;      // [hidden][channel], [channel]
    std::vector<float> last;                     // [channel][3][3]: head times conv_out
    float constant;
};

struct MergeRows {  // three rows of features of one side, all frames
    const Word* rows[3];
    size_t frame_stride[3];
};

// Tokens of one row of N windows, two columns of it: OUTPUTS channels to tokens[column][channel of `merged`][N].
template <class K, int OUTPUTS>
NOINLINE void merge(const Scale& s, const MergeRows& reference, const MergeRows& distorted, const int* frame_of,
                    int frames, const Layout& layout, int column, const Word* w, int output, float* tokens) {
    typename K::Sum sum[OUTPUTS][2];
    UNROLL for (int o = 0; o < OUTPUTS; o++) sum[o][0] = sum[o][1] = K::zero();
    // Columns column - 1 to column + 2: in which part, and how many windows further.
    size_t offset[4];
    for (int k = 0; k < 4; k++) offset[k] = layout.at(0, column + k - 1);
    for (int frame = 0; frame < frames; frame++)
        for (int g = 0; g < s.groups; g++)
            for (int ky = 0; ky < 3; ky++) {
                size_t group = size_t(g) * WINDOW * layout.stride;
                const Word* r = reference.rows[ky] + frame_of[frame] * reference.frame_stride[ky] + group;
                const Word* d = distorted.rows[ky] + frame_of[frame] * distorted.frame_stride[ky] + group;
                UNROLL for (int what = 0; what < 3; what++) {
                    // Both sides are read again for their difference: sums take up the registers.
                    typename K::Word x[4];
                    UNROLL for (int k = 0; k < 4; k++) {
                        Int word = L::load((what == 0 ? r : d) + offset[k]);
                        x[k] = K::take(what == 2 ? K::difference(L::load(r + offset[k]), word) : word);
                    }
                    UNROLL for (int kx = 0; kx < 3; kx++) {
                        UNROLL for (int o = 0; o < OUTPUTS; o++) {
                            sum[o][0] = K::dot(sum[o][0], x[kx], w + o * K::WEIGHT_WORDS);
                            sum[o][1] = K::dot(sum[o][1], x[kx + 1], w + o * K::WEIGHT_WORDS);
                        }
                        w += OUTPUTS * K::WEIGHT_WORDS;
                    }
                }
            }
    UNROLL for (int o = 0; o < OUTPUTS; o++)
        UNROLL for (int half = 0; half < 2; half++) {
            Float x = L::fma(K::to_float(sum[o][half]), L::all_f(s.scale[output + o]), L::all_f(s.bias[output + o]));
            L::store_f(tokens + (size_t(half) * s.merged + output + o) * N, x);
        }
}

using Merge = void (*)(const Scale&, const MergeRows&, const MergeRows&, const int*, int, const Layout&, int,
                       const Word*, int, float*);

template <class K> Merge merge_of(int outputs) {
    switch (outputs) {
#define IF_IT_FITS(size) case size: return merge<K, size <= L::MOST_MERGED ? size : 1>;
        IF_IT_FITS(1) IF_IT_FITS(2) IF_IT_FITS(3) IF_IT_FITS(4) IF_IT_FITS(5) IF_IT_FITS(6)
        IF_IT_FITS(7) IF_IT_FITS(8) IF_IT_FITS(9) IF_IT_FITS(10) IF_IT_FITS(11) IF_IT_FITS(12)
#undef IF_IT_FITS
    }
    return nullptr;
}

// e^x for x at most 0, within 3e-6 of it: a polynomial for 2^f, f in -1/2 to 1/2.
inline Float exponential(Float x) {
    Float y = L::mul(L::max(x, L::all_f(-80)), L::all_f(1.44269504f));
    Float whole = L::round(y), f = L::sub(y, whole), p = L::all_f(9.560519831e-3f);
    for (float c : {5.591712282e-2f, 2.402498165e-1f, 6.931219576e-1f, 9.999991905e-01f})
        p = L::fma(p, f, L::all_f(c));
    return L::times_power(p, whole);
}

// x * Phi(x). Exact: by Abramowitz and Stegun's 7.1.26 for erfc, within 1.5e-7; else by a polynomial, within 6e-5.
template <bool EXACT> inline Float gelu(Float x) {
    if (!EXACT) {
        Float near = L::max(L::min(x, L::all_f(4.5f)), L::all_f(-4.5f)), square = L::mul(near, near);
        Float p = L::all_f(GELU[0]);
        for (int k = 1; k < 9; k++) p = L::fma(p, square, L::all_f(GELU[k]));
        return L::mul(x, L::fma(near, p, L::all_f(0.5f)));
    }
    Float size = L::abs(x), z = L::mul(size, L::all_f(0.70710678f));
    Float t = L::reciprocal(L::fma(z, L::all_f(0.3275911f), L::all_f(1))), p = L::all_f(1.061405429f);
    for (float c : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) p = L::fma(p, t, L::all_f(c));
    Float tail = L::mul(L::mul(p, t), exponential(L::sub(L::all_f(0), L::mul(z, z))));
    return L::sub(L::max(x, L::all_f(0)), L::mul(L::mul(size, L::all_f(0.5f)), tail));
}

// out[o] = start[o] + sum over k of x[k] * m[k][o], for N windows at once; x and out are [channel][N].
inline void times(const float* x, const float* m, int in, int out, float* to, bool add) {
    int o = 0;
    for (; o + 4 <= out; o += 4) {
        Float s[4];
        UNROLL for (int i = 0; i < 4; i++) s[i] = add ? L::load_f(to + (o + i) * N) : L::all_f(0);
        for (int k = 0; k < in; k++) {
            Float v = L::load_f(x + k * N);
            UNROLL for (int i = 0; i < 4; i++) s[i] = L::fma(v, L::all_f(m[k * out + o + i]), s[i]);
        }
        UNROLL for (int i = 0; i < 4; i++) L::store_f(to + (o + i) * N, s[i]);
    }
    for (; o < out; o++) {
        Float s = add ? L::load_f(to + o * N) : L::all_f(0);
        for (int k = 0; k < in; k++) s = L::fma(L::load_f(x + k * N), L::all_f(m[k * out + o]), s);
        L::store_f(to + o * N, s);
    }
}

constexpr int TOKENS = WINDOW * WINDOW;

struct Attention {  // room for N windows
    std::vector<float> tokens, query, mixed, out, after;
    void fit(int merged) {
        if (tokens.size() >= size_t(TOKENS) * merged * N) return;
        tokens.resize(size_t(TOKENS) * merged * N);
        out.resize(tokens.size());
        query.resize(size_t(merged) * N);
        mixed.resize(size_t(merged) * N);
        after.resize(size_t(merged) * N);
    }
};

// tokens + attention(tokens), for N windows, to a.out.
NOINLINE void attend(const Scale& s, Attention& a) {
    const int C = s.merged;
    for (int i = 0; i < TOKENS; i++) {
        const float* token = &a.tokens[size_t(i) * C * N];
        float* out = &a.out[size_t(i) * C * N];
        for (int c = 0; c < C; c++)
            L::store_f(out + c * N, L::add(L::load_f(token + c * N), L::all_f(s.project_bias[c])));
        for (int head = 0; head < s.heads; head++) {
            for (int c = 0; c < C; c++) L::store_f(&a.query[c * N], L::all_f(s.query_bias[head * C + c]));
            times(token, &s.query_key[size_t(head) * C * C], C, C, a.query.data(), true);
            Float score[TOKENS];
            const float* position = &s.position[(size_t(head) * TOKENS + i) * TOKENS];
            UNROLL for (int j = 0; j < TOKENS; j++) score[j] = L::all_f(position[j]);
            for (int c = 0; c < C; c++) {
                Float q = L::load_f(&a.query[c * N]);
                UNROLL for (int j = 0; j < TOKENS; j++)
                    score[j] = L::fma(q, L::load_f(&a.tokens[(size_t(j) * C + c) * N]), score[j]);
            }
            Float most = score[0];
            UNROLL for (int j = 1; j < TOKENS; j++) most = L::max(most, score[j]);
            Float total = L::all_f(0);
            UNROLL for (int j = 0; j < TOKENS; j++) {
                score[j] = exponential(L::sub(score[j], most));
                total = L::add(total, score[j]);
            }
            Float share = L::reciprocal(total);
            for (int c = 0; c < C; c++) {
                Float mix = L::all_f(0);
                UNROLL for (int j = 0; j < TOKENS; j++)
                    mix = L::fma(score[j], L::load_f(&a.tokens[(size_t(j) * C + c) * N]), mix);
                L::store_f(&a.mixed[c * N], L::mul(mix, share));
            }
            times(a.mixed.data(), &s.project_value[size_t(head) * C * C], C, C, out, true);
        }
    }
}

// A row of windows is summed up with the weight of each position: `inner` where the whole 3x3 of the last convolution lies
// inside of the picture, which is nearly everywhere, and a map else.
struct Weighing {
    std::vector<float> inner;          // [channel]
    std::vector<float> inner_hidden;   // [hidden]: inner times the MLP's second matrix
    float inner_constant;              // inner times its bias
    std::vector<float> maps[8];        // for each set of rows of the 3x3 that are inside: [channel][column of window][window]
    int windows = 0, stride = 0;

    static int rows_inside(int y, int height) {
        int set = 0;
        for (int ky = 0; ky < 3; ky++) set |= (y + 1 - ky >= 0 && y + 1 - ky < height) << ky;
        return set;
    }
    Weighing() = default;
    Weighing(const Scale& s, int height, int width) {
        windows = round_up(width, WINDOW) / WINDOW;
        stride = round_up(windows, N);
        inner.assign(s.merged, 0);
        inner_hidden.assign(s.hidden, 0);
        inner_constant = 0;
        for (int c = 0; c < s.merged; c++) {
            for (int k = 0; k < 9; k++) inner[c] += s.last[c * 9 + k];
            inner_constant += inner[c] * s.second_bias[c];
            for (int h = 0; h < s.hidden; h++) inner_hidden[h] += inner[c] * s.second[size_t(h) * s.merged + c];
        }
        for (int y = 0; y < round_up(height, WINDOW); y++) {
            int set = rows_inside(y, height);
            if (!maps[set].empty()) continue;
            maps[set].assign(size_t(s.merged) * WINDOW * stride, 0);
            for (int c = 0; c < s.merged; c++)
                for (int x = 0; x < windows * WINDOW; x++) {
                    float weight = 0;
                    for (int ky = 0; ky < 3; ky++)
                        for (int kx = 0; kx < 3; kx++)
                            if ((set >> ky & 1) && x + 1 - kx >= 0 && x + 1 - kx < width)
                                weight += s.last[c * 9 + ky * 3 + kx];
                    maps[set][(size_t(c) * WINDOW + x % WINDOW) * stride + x / WINDOW] = weight;
                }
        }
    }
};

// The sum of N windows from `window` on in row `y` of windows, after attention: MLP, weights of positions.
template <bool EXACT>
NOINLINE double weigh(const Scale& s, const Weighing& weights, Attention& a, int height, int y, int window) {
    const int C = s.merged;
    bool side = window == 0 || window + N >= weights.windows;
    Float total = L::all_f(0);
    for (int i = 0; i < TOKENS; i++) {
        const float* token = &a.out[size_t(i) * C * N];
        int set = Weighing::rows_inside(y * WINDOW + i / WINDOW, height);
        bool inside = set == 7 && !side;
        Float part = L::all_f(inside ? weights.inner_constant : 0);
        if (inside)
            for (int c = 0; c < C; c++) part = L::fma(L::load_f(token + c * N), L::all_f(weights.inner[c]), part);
        else
            for (int c = 0; c < C; c++)
                L::store_f(&a.after[c * N], L::add(L::load_f(token + c * N), L::all_f(s.second_bias[c])));
        for (int h = 0; h < s.hidden; h++) {
            Float even = L::all_f(s.first_bias[h]), odd = L::all_f(0);
            const float* m = &s.first[size_t(h) * C];
            int c = 0;
            for (; c + 2 <= C; c += 2) {
                even = L::fma(L::load_f(token + c * N), L::all_f(m[c]), even);
                odd = L::fma(L::load_f(token + (c + 1) * N), L::all_f(m[c + 1]), odd);
            }
            if (c < C) even = L::fma(L::load_f(token + c * N), L::all_f(m[c]), even);
            Float active = gelu<EXACT>(L::add(even, odd));
            if (inside) {
                part = L::fma(active, L::all_f(weights.inner_hidden[h]), part);
                continue;
            }
            for (int k = 0; k < C; k++) {
                float* to = &a.after[k * N];
                L::store_f(to, L::fma(active, L::all_f(s.second[size_t(h) * C + k]), L::load_f(to)));
            }
        }
        if (!inside)
            for (int c = 0; c < C; c++) {
                const float* map = &weights.maps[set][(size_t(c) * WINDOW + i % WINDOW) * weights.stride + window];
                part = L::fma(L::load_f(&a.after[c * N]), L::load_f(map), part);
            }
        total = L::add(total, part);
    }
    return L::sum(total);
}

// --- Pictures -------------------------------------------------------------------------------------------------------

struct Format {  // of a picture; made by planes.py, in this order
    int32_t bytes, rows, columns, grey;          // of a sample; luma rows and columns that a chroma sample serves
    int32_t down, up, black, neutral, one;       // codes to int16: (code >> down << up) - black; `one` is white
    int32_t of_u[3], of_v[3];                    // what chroma adds, in 2^-15
    float float_black, float_luma, float_neutral, float_chroma, float_u[3], float_v[3];  // (code - black) * luma
};

struct Picture {
    const uint8_t* planes[3];
    int64_t strides[3];  // bytes from row to row
    Format format;
};

// Samples of a row that may be read in whole steps: the end of a plane is copied, since nothing may be read after it.
struct Samples {
    const uint8_t* row;
    int count, bytes;
    mutable uint8_t end[4 * STEP * 2];
    const uint8_t* at(int x, int step) const {
        if (x + step <= count) return row + size_t(x) * bytes;
        std::memset(end, 0, sizeof end);
        if (x < count) std::memcpy(end, row + size_t(x) * bytes, size_t(count - x) * bytes);
        return end;
    }
    Int pairs(int x) const {  // columns 2j and 2j + 1 in lane j
        const uint8_t* from = at(x, STEP);
        return bytes == 1 ? L::widen_pairs(from) : L::load(from);
    }
    Int doubled(int x) const {  // column j in both halves of lane j
        const uint8_t* from = at(x, N);
        return L::both_halves(bytes == 1 ? L::widen(from) : L::widen((const uint16_t*)from));
    }
};

// Turns rows of planes into the first layer's input: R, G and B, clamped to 0 and 1, and a fourth channel that is 1 inside
// of the picture, since the border is grey and not black.
class Colours {
    const Convolution& first_;
    int width_;
    std::vector<Word> offsets_;  // what chroma adds to R, G, B: three vectors for each step of columns (six of floats)
    int chroma_row_ = -1;

    static Float low(Int x) { return L::to_float(L::low_half(x)); }
    static Float high(Int x) { return L::to_float(L::high_half(x)); }

   public:
    std::vector<float> scale;  // of the first convolution's sums, as white as the picture's format is

    Colours(const Convolution& first, int width) : first_(first), width_(width), scale(first.scale) {
        offsets_.resize(size_t(round_up(width, STEP)) / STEP * 6 * N);
    }
    void start(const Picture& picture) {
        chroma_row_ = -1;
        float factor = first_.in == FLOAT ? 1 : WHITE / float(picture.format.one);
        for (size_t c = 0; c < scale.size(); c++) scale[c] = first_.scale[c] * factor;
    }

    void row(const Picture& picture, int y, Word* to, const Layout& layout) {
        const Format& f = picture.format;
        if (!f.grey && y / f.rows != chroma_row_) {
            chroma_row_ = y / f.rows;
            first_.in == FLOAT ? float_chroma(picture) : chroma(picture);
        }
        Samples samples{picture.planes[0] + y * picture.strides[0], width_, f.bytes, {}};
        first_.in == FLOAT ? float_luma(f, samples, to, layout) : luma(f, samples, to, layout);
    }

   private:
    Samples chroma_samples(const Picture& picture, int plane) const {
        const Format& f = picture.format;
        int count = (width_ + f.columns - 1) / f.columns;
        return {picture.planes[plane] + chroma_row_ * picture.strides[plane], count, f.bytes, {}};
    }
    static Int chroma_pair(const Format& f, const Samples& samples, int x) {
        return f.columns == 2 ? samples.doubled(x / 2) : samples.pairs(x);
    }

    NOINLINE void chroma(const Picture& picture) {
        const Format& f = picture.format;
        Samples u = chroma_samples(picture, 1), v = chroma_samples(picture, 2);
        const Int neutral = L::all16(int16_t(f.neutral));
        Word* to = offsets_.data();
        for (int x = 0; x < width_; x += STEP) {
            Int blue = L::sub16(L::shift16(chroma_pair(f, u, x), f.down, f.up + 1), neutral);
            Int red = L::sub16(L::shift16(chroma_pair(f, v, x), f.down, f.up + 1), neutral);
            for (int c = 0; c < 3; c++, to += N)
                L::store(to, L::add16(L::scale16(blue, L::all16(int16_t(f.of_u[c]))),
                                      L::scale16(red, L::all16(int16_t(f.of_v[c])))));
        }
    }
    NOINLINE void luma(const Format& f, const Samples& samples, Word* to, const Layout& layout) const {
        const Int black = L::all16(int16_t(f.black)), one = L::all16(int16_t(f.one));
        const Int ones = L::all(int32_t(f.one) << 16);
        Word* even = to + LEFT;
        Word* odd = even + layout.stride;
        const size_t second = 2 * size_t(layout.stride);  // the group of blue and one
        const Word* offset = offsets_.data();
        for (int x = 0; x < width_; x += STEP, even += N, odd += N, offset += 3 * N) {
            Int y = L::sub16(L::shift16(samples.pairs(x), f.down, f.up), black);
            Int c[3];
            for (int k = 0; k < 3; k++) c[k] = L::clamp16(f.grey ? y : L::add16(y, L::load(offset + k * N)), one);
            L::store(even, L::low_halves(c[0], c[1]));
            L::store(odd, L::high_halves(c[0], c[1]));
            L::store(even + second, L::low_halves(c[2], one));
            L::store(odd + second, L::high_halves(c[2], ones));
        }
    }

    void float_chroma(const Picture& picture) {
        const Format& f = picture.format;
        Samples u = chroma_samples(picture, 1), v = chroma_samples(picture, 2);
        const Float scale = L::all_f(f.float_chroma), neutral = L::all_f(f.float_neutral);
        float* to = (float*)offsets_.data();
        for (int x = 0; x < width_; x += STEP) {
            Int blue = chroma_pair(f, u, x), red = chroma_pair(f, v, x);
            for (int half = 0; half < 2; half++) {
                Float b = L::mul(L::sub(half ? high(blue) : low(blue), neutral), scale);
                Float r = L::mul(L::sub(half ? high(red) : low(red), neutral), scale);
                for (int c = 0; c < 3; c++, to += N)
                    L::store_f(to, L::add(L::mul(b, L::all_f(f.float_u[c])), L::mul(r, L::all_f(f.float_v[c]))));
            }
        }
    }
    void float_luma(const Format& f, const Samples& samples, Word* to, const Layout& layout) const {
        const float* offset = (const float*)offsets_.data();
        for (int x = 0; x < width_; x += STEP) {
            Int pair = samples.pairs(x);
            for (int half = 0; half < 2; half++) {
                Float y = half ? high(pair) : low(pair);
                y = L::mul(L::sub(y, L::all_f(f.float_black)), L::all_f(f.float_luma));
                for (int c = 0; c < 3; c++, offset += N) {
                    Float value = f.grey ? y : L::add(y, L::load_f(offset));
                    value = L::min(L::max(value, L::all_f(0)), L::all_f(1));
                    L::store_f((float*)to + size_t(2 * c + half) * layout.stride + LEFT + x / 2, value);
                }
                L::store_f((float*)to + size_t(6 + half) * layout.stride + LEFT + x / 2, L::all_f(1));
            }
        }
    }
};

// --- The network ----------------------------------------------------------------------------------------------------

struct Network {
    int frames = 0, scales = 0;
    std::vector<Convolution> first, second;  // of each stage
    std::vector<Scale> scale;
};

// Reads what `pack.py` wrote, in the same order.
class Reader {
    const Word* at_;
    const Word* end_;

   public:
    bool failed = false;
    Reader(const void* data, size_t words) : at_((const Word*)data), end_(at_ + words) {}
    const Word* take(size_t count) {
        static const std::vector<Word> none(1 << 16);
        if (size_t(end_ - at_) < count) {
            failed = true;
            return none.data();
        }
        const Word* from = at_;
        at_ += count;
        return from;
    }
    int number() { return int(*take(1)); }
    std::vector<Word> words(size_t count) {
        const Word* from = take(count);
        return failed ? std::vector<Word>(count) : std::vector<Word>(from, from + count);
    }
    std::vector<float> floats(size_t count) {
        std::vector<Word> raw = words(count);
        std::vector<float> out(count);
        std::memcpy(out.data(), raw.data(), count * sizeof(float));
        return out;
    }
    bool done() const { return at_ == end_; }
};

// [place][output] to blocks of outputs, in each [place][output of the block].
std::vector<Word> blocked(const std::vector<Word>& from, size_t places, int outputs, int most, Kind kind) {
    std::vector<Word> to;
    to.reserve(from.size() * weight_words(kind));
    for (int o = 0; o < outputs;) {
        int block = block_of(outputs - o, most);
        for (size_t place = 0; place < places; place++)
            for (int i = 0; i < block; i++) put_weight(to, kind, from[place * outputs + o + i]);
        o += block;
    }
    return to;
}

Convolution read_convolution(Reader& from) {
    Convolution c;
    c.in = Kind(from.number());
    c.out = Kind(from.number());
    c.channels_in = from.number();
    c.channels = from.number();
    c.groups = (c.channels_in + channels_of(c.in) - 1) / channels_of(c.in);
    c.weights = blocked(from.words(size_t(c.groups) * 9 * c.channels), size_t(c.groups) * 9, c.channels,
                        L::MOST_OUTPUTS, c.in);
    c.scale = from.floats(c.channels);
    c.bias = from.floats(c.channels);
    c.up = from.floats(c.channels);
    c.zero = from.floats(c.channels);
    for (auto* one : {&c.up, &c.zero}) one->resize(round_up(c.channels, 4), 0.f);
    c.border = from.words(c.groups);
    return c;
}

Scale read_scale(Reader& from, int frames) {
    Scale s;
    s.kind = Kind(from.number());
    s.channels = from.number();
    s.merged = from.number();
    s.heads = from.number();
    s.hidden = from.number();
    s.groups = (s.channels + channels_of(s.kind) - 1) / channels_of(s.kind);
    size_t places = size_t(frames) * s.groups * 27, C = s.merged, H = s.heads;
    s.weights = blocked(from.words(places * C), places, s.merged, L::MOST_MERGED, s.kind);
    s.scale = from.floats(C);
    s.bias = from.floats(C);
    s.query_key = from.floats(H * C * C);
    s.query_bias = from.floats(H * C);
    s.project_value = from.floats(H * C * C);
    s.project_bias = from.floats(C);
    s.position = from.floats(H * TOKENS * TOKENS);
    s.first = from.floats(s.hidden * C);
    s.first_bias = from.floats(s.hidden);
    s.second = from.floats(s.hidden * C);
    s.second_bias = from.floats(C);
    s.last = from.floats(C * 9);
    s.constant = from.floats(1)[0];
    return s;
}

// --- A session: one network at one size of picture --------------------------------------------------------------------

constexpr int PARTS = 32;  // of the clock: 0 input, 1 + 2k and 2 + 2k convolutions of stage k, 16 + 2k merge, 17 + 2k the rest

struct Clock {
    bool on = false;
    double spent[PARTS] = {};
    double last = 0;
    static double now() {  // of this thread alone: on a busy machine another clock would count others' work
        timespec t;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
    }
    static double cost() {  // of asking, which is asked for every row: a system call
        static const double least = [] {
            double found = 1;
            for (int i = 0; i < 1000; i++) {
                double before = now();
                found = std::min(found, now() - before);
            }
            return found;
        }();
        return least;
    }
    void start() {
        if (on) last = now();
    }
    void stop(int part) {
        if (!on) return;
        double time = now();
        spent[part] += time - last - cost();
        last = time;
    }
};

struct Geometry {
    int height, width, strip;
    std::vector<int> heights, widths;  // of the picture and of each stage's map
};

// One frame on its way through the extractor.
class Stream {
    const Network& network_;
    const Geometry& size_;
    Clock& clock_;
    std::vector<Ring> in_, middle_;
    std::vector<int> made_in_, made_middle_;  // rows made by the first and by the second convolution of each stage
    const float* colour_scale_ = nullptr;     // of the very first convolution, whose input is as white as the format says

   public:
    Stream(const Network& network, const Geometry& size, Clock& clock, Memory& memory)
        : network_(network), size_(size), clock_(clock) {
        for (int k = 0; k < network.scales; k++) {
            const Convolution &a = network.first[k], &b = network.second[k];
            in_.emplace_back(Layout(a.groups, 2, size.widths[k]), a.border, memory);
            middle_.emplace_back(Layout(b.groups, 1, size.widths[k + 1]), b.border, memory);
        }
        restart();
    }
    void restart() {
        made_in_.assign(network_.scales, 0);
        made_middle_.assign(network_.scales, 0);
    }
    int rows(int stage) const { return made_middle_[stage]; }

    void feed(const Picture& picture, int from, int to, Colours& colours, std::vector<Features>& features, int frame,
              float* room) {
        colours.start(picture);
        colour_scale_ = colours.scale.data();
        for (int y = from; y < to; y++) {
            clock_.start();
            Word* row = in_[0].row(y);
            colours.row(picture, y, row, in_[0].layout);
            in_[0].close(row);
            clock_.stop(0);
            advance(0, y, features, frame, room);
        }
    }

   private:
    static int steps_from(int x, int width) { return std::min(STEPS, (width - x + STEP - 1) / STEP); }

    // Row y of a stage's input is there: makes every row that this allows, here and in the stages after it.
    void advance(int stage, int y, std::vector<Features>& features, int frame, float* room) {
        const Convolution& c = network_.first[stage];
        const float* scale = stage == 0 ? colour_scale_ : c.scale.data();
        Ring &in = in_[stage], &middle = middle_[stage];
        const int before = size_.heights[stage], height = size_.heights[stage + 1], width = size_.widths[stage + 1];
        for (int& j = made_in_[stage]; j < height && std::min(2 * j + 1, before - 1) <= y; j++) {
            clock_.start();
            Taps taps{{}, 2 * in.layout.stride, in.layout.stride};
            Word* to = middle.row(j);
            for (int x = 0; x < width; x += STEPS * STEP) {
                int steps = steps_from(x, width);
                for (int k = 0; k < 3; k++) taps.rows[k] = in.row_or_border(2 * j - 1 + k, before) + LEFT + x;
                convolve_all<2>(c, taps, steps, scale, room);
                pack(c.out, c.channels, room, steps, c.up.data(), c.zero.data(), to, middle.layout, x);
            }
            middle.close(to);
            clock_.stop(1 + 2 * stage);
            second(stage, j, features, frame, room);
        }
    }
    void second(int stage, int y, std::vector<Features>& features, int frame, float* room) {
        const Convolution& c = network_.second[stage];
        Ring& middle = middle_[stage];
        Features& kept = features[stage];
        const int height = size_.heights[stage + 1], width = size_.widths[stage + 1];
        const Kind kind = network_.scale[stage].kind;
        Ring* next = stage + 1 < network_.scales ? &in_[stage + 1] : nullptr;
        for (int& j = made_middle_[stage]; j < height && std::min(j + 1, height - 1) <= y; j++) {
            clock_.start();
            Taps taps{{}, middle.layout.stride, 0};
            Word* to = kept.row(j, frame);
            Word* on = next ? next->row(j) : nullptr;
            for (int x = 0; x < width; x += STEPS * STEP) {
                int steps = steps_from(x, width);
                for (int k = 0; k < 3; k++) taps.rows[k] = middle.row_or_border(j - 1 + k, height) + LEFT + x;
                convolve_all<1>(c, taps, steps, c.scale.data(), room);
                put_features(kind, c.channels, room, steps, to, kept.layout, x);
                if (on) pack(c.out, c.channels, room, steps, c.up.data(), c.zero.data(), on, next->layout, x);
            }
            close_features(to, kept.layout, width, kind == BYTES ? BYTE_ZERO : 0);
            if (on) next->close(on);
            clock_.stop(2 + 2 * stage);
            if (on) advance(stage + 1, j, features, frame, room);
        }
    }
};

using Clip = std::vector<Picture>;

struct Kept {  // a reference's features
    Memory memory;
    std::vector<Features> features;
};

class Session {
    const Network& network_;
    Geometry size_;
    Memory memory_;
    std::vector<Stream> streams_[2];  // of the reference and of the distorted clip; made when they are needed
    std::vector<Features> rings_[2];
    std::vector<Weighing> weighing_;
    std::vector<Word> border_;  // a row of zero features for all scales
    Attention attention_;
    std::vector<float> room_;

   public:
    Clock clock;

    Session(const Network& network, int height, int width, int strip) : network_(network) {
        size_ = {height, width, std::min(round_up(std::max(strip, 8), 8), round_up(height, 8)), {height}, {width}};
        int widest = 4;
        for (int k = 0; k < network.scales; k++) {
            size_.heights.push_back((size_.heights[k] + 1) / 2);
            size_.widths.push_back((size_.widths[k] + 1) / 2);
            weighing_.emplace_back(network.scale[k], size_.heights[k + 1], size_.widths[k + 1]);
            attention_.fit(network.scale[k].merged);
            widest = std::max({widest, network.first[k].channels, network.second[k].channels});
        }
        // Words are packed from groups of up to four channels: those after the last are zero.
        room_.assign(size_t(round_up(widest, 4)) * ROOM, 0);
    }
    std::vector<Features> make_features(bool whole, Memory& memory) const {
        std::vector<Features> made;
        for (int k = 0; k < network_.scales; k++) {
            const Scale& s = network_.scale[k];
            int height = size_.heights[k + 1];
            int held = whole ? height : std::min(height, size_.strip / (2 << k) + 12);
            made.emplace_back(Layout(s.groups, WINDOW, round_up(size_.widths[k + 1], WINDOW)), network_.frames, height,
                              held, s.kind == BYTES ? BYTE_ZERO : 0, memory);
        }
        return made;
    }

    // All of a reference's features, kept for several distorted clips.
    std::unique_ptr<Kept> features(const Clip& clip) {
        auto kept = std::make_unique<Kept>();
        kept->features = make_features(true, kept->memory);
        start(0);
        Colours colours(network_.first[0], size_.width);
        for (int y = 0; y < size_.height; y += size_.strip) go(0, clip, y, colours, kept->features);
        return kept;
    }

    double score(const Clip* reference, const std::vector<Features>* kept, const Clip& distorted) {
        if (rings_[1].empty()) rings_[1] = make_features(false, memory_);
        if (!kept && rings_[0].empty()) rings_[0] = make_features(false, memory_);
        if (reference) start(0);
        start(1);
        const std::vector<Features>& of_reference = kept ? *kept : rings_[0];
        Colours colours(network_.first[0], size_.width);
        std::vector<int> frame_of(network_.frames), done(network_.scales, 0);
        for (int t = 0; t < network_.frames; t++) frame_of[t] = std::min(t, int(distorted.size()) - 1);
        std::vector<double> sums(network_.scales, 0);
        for (int y = 0; y < size_.height; y += size_.strip) {
            if (reference) go(0, *reference, y, colours, rings_[0]);
            go(1, distorted, y, colours, rings_[1]);
            for (int k = 0; k < network_.scales; k++) {
                int have = streams_[1][0].rows(k), height = size_.heights[k + 1];
                for (int& row = done[k]; row * WINDOW < height && have >= std::min(row * WINDOW + WINDOW + 1, height); row++)
                    sums[k] += window_row(k, row, of_reference[k], rings_[1][k], frame_of.data());
            }
        }
        double total = 0;
        for (int k = 0; k < network_.scales; k++)
            total += sums[k] / (double(size_.heights[k + 1]) * size_.widths[k + 1]) + network_.scale[k].constant;
        return total;
    }

   private:
    void start(int side) {
        for (int t = int(streams_[side].size()); t < network_.frames; t++)
            streams_[side].emplace_back(network_, size_, clock, memory_);
        for (Stream& stream : streams_[side]) stream.restart();
    }
    void go(int side, const Clip& clip, int y, Colours& colours, std::vector<Features>& features) {
        int to = std::min(y + size_.strip, size_.height);
        for (size_t t = 0; t < clip.size(); t++)
            streams_[side][t].feed(clip[t], y, to, colours, features, int(t), room_.data());
    }
    double window_row(int k, int row, const Features& reference, const Features& distorted, const int* frame_of) {
        const Scale& s = network_.scale[k];
        const Layout& layout = distorted.layout;
        const int height = size_.heights[k + 1], whole = round_up(height, WINDOW);
        const int windows = weighing_[k].windows;
        const Word zero = s.kind == BYTES ? BYTE_ZERO : 0;
        if (border_.size() < layout.words() || border_[0] != zero) border_.assign(layout.words(), zero);
        MergeRows r[WINDOW], d[WINDOW];
        for (int i = 0; i < WINDOW; i++)
            for (int ky = 0; ky < 3; ky++) {
                int y = row * WINDOW + i + ky - 1;
                bool outside = y < 0 || y >= whole;
                if (y >= height) y = 2 * (height - 1) - y;
                r[i].rows[ky] = outside ? border_.data() : reference.row(y);
                d[i].rows[ky] = outside ? border_.data() : distorted.row(y);
                r[i].frame_stride[ky] = d[i].frame_stride[ky] = outside ? 0 : layout.words();
            }
        double total = 0;
        for (int window = 0; window < windows; window += N) {
            clock.start();
            for (int i = 0; i < TOKENS; i += 2) {
                MergeRows here[2] = {r[i / WINDOW], d[i / WINDOW]};
                for (auto& side : here)
                    for (auto& one : side.rows) one += window;
                const Word* w = s.weights.data();
                for (int o = 0; o < s.merged;) {
                    int block = block_of(s.merged - o, L::MOST_MERGED);
                    Merge run = s.kind == FLOAT ? merge_of<Floats>(block) : merge_of<Bytes>(block);
                    run(s, here[0], here[1], frame_of, network_.frames, layout, i % WINDOW, w, o,
                        &attention_.tokens[size_t(i) * s.merged * N]);
                    w += size_t(network_.frames) * s.groups * 27 * block * weight_words(s.kind);
                    o += block;
                }
            }
            clock.stop(16 + 2 * k);
            attend(s, attention_);
            auto sum = s.kind == FLOAT ? weigh<true> : weigh<false>;
            total += sum(s, weighing_[k], attention_, height, row, window);
            clock.stop(17 + 2 * k);
        }
        return total;
    }
};

template <class K> double peak(int channels) {
    constexpr int SUMS = 12, ROUNDS = 2000000;
    const Word weights[2 * SUMS] = {};
    auto pixels = K::take(L::all(0));
    typename K::Sum sum[SUMS];
    UNROLL for (int i = 0; i < SUMS; i++) sum[i] = K::zero();
    double best = 0;
    for (int attempt = 0; attempt < 3; attempt++) {
        double start = Clock::now();
        for (int r = 0; r < ROUNDS; r++) {
            // The weight may have changed, as far as the compiler knows: nothing is taken out of the loop.
            asm volatile("" : : "r"(weights) : "memory");
            UNROLL for (int i = 0; i < SUMS; i++) sum[i] = K::dot(sum[i], pixels, weights);
        }
        best = std::max(best, double(SUMS) * ROUNDS * N * channels / (Clock::now() - start) / 1e9);
    }
    float out[N];
    for (int i = 0; i < SUMS; i++) L::store_f(out, K::to_float(sum[i]));
    asm volatile("" : : "r"(out) : "memory");
    return best;
}

Clip clip_of(const Picture* pictures, int frames) { return Clip(pictures, pictures + frames); }

}  // namespace

// --- What Python calls ------------------------------------------------------------------------------------------------

extern "C" {

const char* native_lanes() { return Lanes::NAME; }
int native_picture_bytes() { return int(sizeof(Picture)); }

void* native_network(const void* data, int64_t words) {
    Reader from(data, size_t(words));
    auto network = std::make_unique<Network>();
    network->frames = from.number();
    network->scales = from.number();
    for (int k = 0; k < network->scales && !from.failed; k++) {
        network->first.push_back(read_convolution(from));
        network->second.push_back(read_convolution(from));
        network->scale.push_back(read_scale(from, network->frames));
    }
    return from.failed || !from.done() ? nullptr : network.release();
}
void native_network_free(void* network) { delete (Network*)network; }

void* native_session(const void* network, int height, int width, int strip) {
    return new Session(*(const Network*)network, height, width, strip);
}
void native_session_free(void* session) { delete (Session*)session; }

double native_score(void* session, const Picture* reference, const Picture* distorted, int frames) {
    Clip r = clip_of(reference, frames);
    return ((Session*)session)->score(&r, nullptr, clip_of(distorted, frames));
}
void* native_features(void* session, const Picture* pictures, int frames) {
    return ((Session*)session)->features(clip_of(pictures, frames)).release();
}
void native_features_free(void* features) { delete (Kept*)features; }
double native_score_kept(void* session, const void* features, const Picture* distorted, int frames) {
    return ((Session*)session)->score(nullptr, &((const Kept*)features)->features, clip_of(distorted, frames));
}

// 10^9 multiplications with addition a second that this core does on numbers of a kind, everything in registers.
double native_peak(int kind) {
    switch (kind) {
        case FLOAT: return peak<Floats>(channels_of(FLOAT));
        case SHORTS: return peak<Shorts>(channels_of(SHORTS));
        default: return peak<Bytes>(channels_of(BYTES));
    }
}

// Seconds in each part since the last call; see PARTS.
void native_clock(void* session, int on, double* spent) {
    Clock& clock = ((Session*)session)->clock;
    std::copy(clock.spent, clock.spent + PARTS, spent);
    std::fill(clock.spent, clock.spent + PARTS, 0.0);
    clock.on = on != 0;
}
}
