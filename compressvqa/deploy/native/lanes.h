// The few vector operations that rankdvqa.cpp is written in, once for each instruction set; flags of the compiler choose.
//
// A vector has N lanes of 32 bits, and a lane is a pixel. Its word holds one float, two int16 or four bytes: channels of
// that pixel. Products of whole numbers are exact in all sets, so that they agree to the last bit.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if !defined(NATIVE_PORTABLE) && defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
#include <immintrin.h>

struct Lanes {
    static constexpr const char* NAME = "avx512-vnni";
    static constexpr int N = 16;
    static constexpr int MOST_OUTPUTS = 12;  // channels whose two sums each stay in registers through a convolution
    static constexpr int MOST_MERGED = 12;   // the same of tokens
    static constexpr int BYTE_WEIGHT_WORDS = 1;
    using Int = __m512i;
    using Float = __m512;
    using Bytes = __m512i;

    static Int load(const void* from) { return _mm512_loadu_si512(from); }
    static void store(void* to, Int x) { _mm512_storeu_si512(to, x); }
    static Float load_f(const float* from) { return _mm512_loadu_ps(from); }
    static void store_f(float* to, Float x) { _mm512_storeu_ps(to, x); }
    static Int all(int32_t x) { return _mm512_set1_epi32(x); }
    static Int all16(int16_t x) { return _mm512_set1_epi16(x); }
    static Float all_f(float x) { return _mm512_set1_ps(x); }
    static Float as_float(Int x) { return _mm512_castsi512_ps(x); }
    static Int as_int(Float x) { return _mm512_castps_si512(x); }
    static Float to_float(Int x) { return _mm512_cvtepi32_ps(x); }

    static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
    static Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
    static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
    static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
    static Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
    static Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
    static Float abs(Float a) { return _mm512_abs_ps(a); }
    static Float reciprocal(Float a) {
        Float r = _mm512_rcp14_ps(a);
        return _mm512_mul_ps(r, _mm512_fnmadd_ps(a, r, all_f(2.f)));
    }
    static Float inverse_root(Float a) {
        Float r = _mm512_rsqrt14_ps(a);
        return _mm512_mul_ps(r, _mm512_fnmadd_ps(_mm512_mul_ps(all_f(.5f), a), _mm512_mul_ps(r, r), all_f(1.5f)));
    }
    static Float round(Float a) { return _mm512_roundscale_ps(a, 0); }
    static Float times_power(Float a, Float n) { return _mm512_scalef_ps(a, n); }
    static float sum(Float a) { return _mm512_reduce_add_ps(a); }

    static Bytes bytes(Int x) { return x; }
    static Int dot_bytes(Int sum, Bytes x, const uint32_t* w) { return _mm512_dpbusd_epi32(sum, x, all(int32_t(*w))); }
    static Int dot_shorts(Int sum, Int x, const uint32_t* w) { return _mm512_dpwssd_epi32(sum, x, all(int32_t(*w))); }
    static Int difference_of_bytes(Int a, Int b) {
        return _mm512_or_si512(_mm512_subs_epu8(a, b), _mm512_subs_epu8(b, a));
    }

    static Int pack_bytes(Float a, Float b, Float c, Float d) {
        Int ab = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
        Int cd = _mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d));
        const Int order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
        return _mm512_shuffle_epi8(_mm512_packus_epi16(ab, cd), order);
    }
    static Int pack_shorts(Float a, Float b) {
        Int ab = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
        const Int order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
        return _mm512_shuffle_epi8(ab, order);
    }
    static void deinterleave(Int a, Int b, Int& even, Int& odd) {
        const Int e = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        even = _mm512_permutex2var_epi32(a, e, b);
        odd = _mm512_permutex2var_epi32(a, _mm512_add_epi32(e, all(1)), b);
    }
    // a, b: 32 columns; first: every fourth from 0, then from 1; second: from 2 and from 3.
    static void quarter(Int a, Int b, Int& first, Int& second) {
        const Int f = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
        first = _mm512_permutex2var_epi32(a, f, b);
        second = _mm512_permutex2var_epi32(a, _mm512_add_epi32(f, all(2)), b);
    }
    static void store_halves(void* low, void* high, Int x) {
        _mm256_storeu_si256((__m256i*)low, _mm512_castsi512_si256(x));
        _mm256_storeu_si256((__m256i*)high, _mm512_extracti64x4_epi64(x, 1));
    }

    static Int widen_pairs(const uint8_t* from) { return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i*)from)); }
    static Int widen(const uint8_t* from) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)from)); }
    static Int widen(const uint16_t* from) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)); }
    static Int both_halves(Int x) { return _mm512_or_si512(x, _mm512_slli_epi32(x, 16)); }
    static Int low_halves(Int a, Int b) { return _mm512_mask_blend_epi16(0xAAAAAAAAu, a, _mm512_slli_epi32(b, 16)); }
    static Int high_halves(Int a, Int b) { return _mm512_mask_blend_epi16(0xAAAAAAAAu, _mm512_srli_epi32(a, 16), b); }
    static Int low_half(Int x) { return _mm512_and_si512(x, all(0xffff)); }
    static Int high_half(Int x) { return _mm512_srli_epi32(x, 16); }
    static Int shift16(Int x, int down, int up) {
        return _mm512_sll_epi16(_mm512_srl_epi16(x, _mm_cvtsi32_si128(down)), _mm_cvtsi32_si128(up));
    }
    static Int add16(Int a, Int b) { return _mm512_add_epi16(a, b); }
    static Int sub16(Int a, Int b) { return _mm512_sub_epi16(a, b); }
    static Int scale16(Int a, Int b) { return _mm512_mulhrs_epi16(a, b); }
    static Int clamp16(Int a, Int most) {
        return _mm512_min_epi16(_mm512_max_epi16(a, _mm512_setzero_si512()), most);
    }
};

#elif !defined(NATIVE_PORTABLE) && defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

struct Lanes {
    static constexpr const char* NAME = "avx2";
    static constexpr int N = 8;
    static constexpr int MOST_OUTPUTS = 4;
    static constexpr int MOST_MERGED = 2;
    static constexpr int BYTE_WEIGHT_WORDS = 2;
    using Int = __m256i;
    using Float = __m256;
    struct Bytes { __m256i even, odd; };  // as int16: the product of bytes that this set has is not exact

    static Int load(const void* from) { return _mm256_loadu_si256((const __m256i*)from); }
    static void store(void* to, Int x) { _mm256_storeu_si256((__m256i*)to, x); }
    static Float load_f(const float* from) { return _mm256_loadu_ps(from); }
    static void store_f(float* to, Float x) { _mm256_storeu_ps(to, x); }
    static Int all(int32_t x) { return _mm256_set1_epi32(x); }
    static Int all16(int16_t x) { return _mm256_set1_epi16(x); }
    static Float all_f(float x) { return _mm256_set1_ps(x); }
    static Float as_float(Int x) { return _mm256_castsi256_ps(x); }
    static Int as_int(Float x) { return _mm256_castps_si256(x); }
    static Float to_float(Int x) { return _mm256_cvtepi32_ps(x); }

    static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
    static Float sub(Float a, Float b) { return _mm256_sub_ps(a, b); }
    static Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
    static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
    static Float max(Float a, Float b) { return _mm256_max_ps(a, b); }
    static Float min(Float a, Float b) { return _mm256_min_ps(a, b); }
    static Float abs(Float a) { return _mm256_andnot_ps(all_f(-0.f), a); }
    static Float reciprocal(Float a) { return _mm256_div_ps(all_f(1.f), a); }
    static Float inverse_root(Float a) { return _mm256_div_ps(all_f(1.f), _mm256_sqrt_ps(a)); }
    static Float round(Float a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static Float times_power(Float a, Float n) {
        Int power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), all(127)), 23);
        return _mm256_mul_ps(a, _mm256_castsi256_ps(power));
    }
    static float sum(Float a) {
        alignas(32) float part[N];
        float total = 0;
        _mm256_store_ps(part, a);
        for (float x : part) total += x;
        return total;
    }

    static Bytes bytes(Int x) { return {_mm256_and_si256(x, all16(0xff)), _mm256_srli_epi16(x, 8)}; }
    static Int dot_bytes(Int sum, Bytes x, const uint32_t* w) {
        return dot_shorts(dot_shorts(sum, x.even, w), x.odd, w + 1);
    }
    static Int dot_shorts(Int sum, Int x, const uint32_t* w) {
        return _mm256_add_epi32(sum, _mm256_madd_epi16(x, all(int32_t(*w))));
    }
    static Int difference_of_bytes(Int a, Int b) {
        return _mm256_or_si256(_mm256_subs_epu8(a, b), _mm256_subs_epu8(b, a));
    }

    static Int pack_bytes(Float a, Float b, Float c, Float d) {
        Int ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
        Int cd = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
        const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        return _mm256_shuffle_epi8(_mm256_packus_epi16(ab, cd), _mm256_broadcastsi128_si256(order));
    }
    static Int pack_shorts(Float a, Float b) {
        Int ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
        const __m128i order = _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
        return _mm256_shuffle_epi8(ab, _mm256_broadcastsi128_si256(order));
    }
    static void deinterleave(Int a, Int b, Int& even, Int& odd) {
        __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
        even = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(x, y, _MM_SHUFFLE(2, 0, 2, 0))), 0xD8);
        odd = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(x, y, _MM_SHUFFLE(3, 1, 3, 1))), 0xD8);
    }
    static void quarter(Int a, Int b, Int& first, Int& second) {
        Int even, odd;
        deinterleave(a, b, even, odd);
        deinterleave(even, odd, first, second);
    }
    static void store_halves(void* low, void* high, Int x) {
        _mm_storeu_si128((__m128i*)low, _mm256_castsi256_si128(x));
        _mm_storeu_si128((__m128i*)high, _mm256_extracti128_si256(x, 1));
    }

    static Int widen_pairs(const uint8_t* from) { return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)from)); }
    static Int widen(const uint8_t* from) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from)); }
    static Int widen(const uint16_t* from) { return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)from)); }
    static Int both_halves(Int x) { return _mm256_or_si256(x, _mm256_slli_epi32(x, 16)); }
    static Int low_halves(Int a, Int b) { return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xAA); }
    static Int high_halves(Int a, Int b) { return _mm256_blend_epi16(_mm256_srli_epi32(a, 16), b, 0xAA); }
    static Int low_half(Int x) { return _mm256_and_si256(x, all(0xffff)); }
    static Int high_half(Int x) { return _mm256_srli_epi32(x, 16); }
    static Int shift16(Int x, int down, int up) {
        return _mm256_sll_epi16(_mm256_srl_epi16(x, _mm_cvtsi32_si128(down)), _mm_cvtsi32_si128(up));
    }
    static Int add16(Int a, Int b) { return _mm256_add_epi16(a, b); }
    static Int sub16(Int a, Int b) { return _mm256_sub_epi16(a, b); }
    static Int scale16(Int a, Int b) { return _mm256_mulhrs_epi16(a, b); }
    static Int clamp16(Int a, Int most) {
        return _mm256_min_epi16(_mm256_max_epi16(a, _mm256_setzero_si256()), most);
    }
};

#elif !defined(NATIVE_PORTABLE) && defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>

struct Lanes {
    static constexpr const char* NAME = "neon";
    static constexpr int N = 4;
    static constexpr int MOST_OUTPUTS = 8;
    static constexpr int MOST_MERGED = 4;
    static constexpr int BYTE_WEIGHT_WORDS = 2;
    using Int = int32x4_t;
    using Float = float32x4_t;
    struct Bytes { int32x4_t even, odd; };

    static int16x8_t h(Int x) { return vreinterpretq_s16_s32(x); }
    static uint16x8_t uh(Int x) { return vreinterpretq_u16_s32(x); }
    static Int w(int16x8_t x) { return vreinterpretq_s32_s16(x); }
    static Int w(uint16x8_t x) { return vreinterpretq_s32_u16(x); }
    static Int w(uint32x4_t x) { return vreinterpretq_s32_u32(x); }

    static Int load(const void* from) { return vld1q_s32((const int32_t*)from); }
    static void store(void* to, Int x) { vst1q_s32((int32_t*)to, x); }
    static Float load_f(const float* from) { return vld1q_f32(from); }
    static void store_f(float* to, Float x) { vst1q_f32(to, x); }
    static Int all(int32_t x) { return vdupq_n_s32(x); }
    static Int all16(int16_t x) { return w(vdupq_n_s16(x)); }
    static Float all_f(float x) { return vdupq_n_f32(x); }
    static Float as_float(Int x) { return vreinterpretq_f32_s32(x); }
    static Int as_int(Float x) { return vreinterpretq_s32_f32(x); }
    static Float to_float(Int x) { return vcvtq_f32_s32(x); }

    static Float add(Float a, Float b) { return vaddq_f32(a, b); }
    static Float sub(Float a, Float b) { return vsubq_f32(a, b); }
    static Float mul(Float a, Float b) { return vmulq_f32(a, b); }
    static Float fma(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
    static Float max(Float a, Float b) { return vmaxq_f32(a, b); }
    static Float min(Float a, Float b) { return vminq_f32(a, b); }
    static Float abs(Float a) { return vabsq_f32(a); }
    static Float reciprocal(Float a) { return vdivq_f32(all_f(1.f), a); }
    static Float inverse_root(Float a) { return vdivq_f32(all_f(1.f), vsqrtq_f32(a)); }
    static Float round(Float a) { return vrndnq_f32(a); }
    static Float times_power(Float a, Float n) {
        return vmulq_f32(a, as_float(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), all(127)), 23)));
    }
    static float sum(Float a) { return vaddvq_f32(a); }

    static Bytes bytes(Int x) { return {w(vandq_u16(uh(x), vdupq_n_u16(0xff))), w(vshrq_n_u16(uh(x), 8))}; }
    static Int dot_bytes(Int sum, Bytes x, const uint32_t* weight) {
        return dot_shorts(dot_shorts(sum, x.even, weight), x.odd, weight + 1);
    }
    static Int dot_shorts(Int sum, Int x, const uint32_t* weight) {
        int16x8_t a = h(x), b = h(all(int32_t(*weight)));
        Int low = vmull_s16(vget_low_s16(a), vget_low_s16(b)), high = vmull_high_s16(a, b);
        return vaddq_s32(sum, vpaddq_s32(low, high));
    }
    static Int difference_of_bytes(Int a, Int b) {
        return vreinterpretq_s32_u8(vabdq_u8(vreinterpretq_u8_s32(a), vreinterpretq_u8_s32(b)));
    }

    static Int pack_bytes(Float a, Float b, Float c, Float d) {
        auto whole = [](Float x) { return vminq_s32(vmaxq_s32(vcvtnq_s32_f32(x), all(0)), all(255)); };
        Int low = vorrq_s32(whole(a), vshlq_n_s32(whole(b), 8));
        return vorrq_s32(low, vorrq_s32(vshlq_n_s32(whole(c), 16), vshlq_n_s32(whole(d), 24)));
    }
    static Int pack_shorts(Float a, Float b) {
        int16x4_t low = vqmovn_s32(vcvtnq_s32_f32(a)), high = vqmovn_s32(vcvtnq_s32_f32(b));
        int16x4x2_t mixed = vzip_s16(low, high);
        return w(vcombine_s16(mixed.val[0], mixed.val[1]));
    }
    static void deinterleave(Int a, Int b, Int& even, Int& odd) {
        even = vuzp1q_s32(a, b);
        odd = vuzp2q_s32(a, b);
    }
    static void quarter(Int a, Int b, Int& first, Int& second) {
        Int even = vuzp1q_s32(a, b), odd = vuzp2q_s32(a, b);
        deinterleave(even, odd, first, second);
    }
    static void store_halves(void* low, void* high, Int x) {
        vst1_s32((int32_t*)low, vget_low_s32(x));
        vst1_s32((int32_t*)high, vget_high_s32(x));
    }

    static Int widen_pairs(const uint8_t* from) { return w(vmovl_u8(vld1_u8(from))); }
    static Int widen(const uint8_t* from) {
        uint32_t four;
        std::memcpy(&four, from, 4);
        uint16x8_t wide = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
        return w(vmovl_u16(vget_low_u16(wide)));
    }
    static Int widen(const uint16_t* from) { return w(vmovl_u16(vld1_u16(from))); }
    static Int both_halves(Int x) { return vorrq_s32(x, vshlq_n_s32(x, 16)); }
    static Int low_halves(Int a, Int b) { return vsliq_n_s32(a, b, 16); }
    static Int high_halves(Int a, Int b) {
        return w(vsriq_n_u32(vreinterpretq_u32_s32(b), vreinterpretq_u32_s32(a), 16));
    }
    static Int low_half(Int x) { return vandq_s32(x, all(0xffff)); }
    static Int high_half(Int x) { return w(vshrq_n_u32(vreinterpretq_u32_s32(x), 16)); }
    static Int shift16(Int x, int down, int up) {
        return w(vshlq_u16(vshlq_u16(uh(x), vdupq_n_s16(int16_t(-down))), vdupq_n_s16(int16_t(up))));
    }
    static Int add16(Int a, Int b) { return w(vaddq_s16(h(a), h(b))); }
    static Int sub16(Int a, Int b) { return w(vsubq_s16(h(a), h(b))); }
    static Int scale16(Int a, Int b) { return w(vqrdmulhq_s16(h(a), h(b))); }
    static Int clamp16(Int a, Int most) { return w(vminq_s16(vmaxq_s16(h(a), vdupq_n_s16(0)), h(most))); }
};

#else

// Plain C++: works everywhere, and is what the others are tested against.
struct Lanes {
    static constexpr const char* NAME = "portable";
    static constexpr int N = 4;
    static constexpr int MOST_OUTPUTS = 4;
    static constexpr int MOST_MERGED = 2;
    static constexpr int BYTE_WEIGHT_WORDS = 1;
    struct Int { int32_t v[N]; };
    struct Float { float v[N]; };
    using Bytes = Int;

    template <class Out, class F> static Out each(F f) {
        Out out;
        for (int i = 0; i < N; i++) out.v[i] = f(i);
        return out;
    }
    template <class F> static Int shorts(F f) {  // f(lane, half) for both halves of each word
        return each<Int>([&](int i) { return int32_t(uint32_t(uint16_t(f(i, 0))) | uint32_t(uint16_t(f(i, 1))) << 16); });
    }
    static int16_t half(const Int& x, int i, int k) { return int16_t(uint32_t(x.v[i]) >> (16 * k)); }
    static int byte(const Int& x, int i, int k) { return uint8_t(uint32_t(x.v[i]) >> (8 * k)); }
    static int32_t whole(float x) { return int32_t(std::nearbyint(std::fmin(std::fmax(x, -1e9f), 1e9f))); }
    static int32_t within(int32_t x, int32_t low, int32_t high) { return x < low ? low : x > high ? high : x; }

    static Int load(const void* from) { Int x; std::memcpy(x.v, from, sizeof x.v); return x; }
    static void store(void* to, Int x) { std::memcpy(to, x.v, sizeof x.v); }
    static Float load_f(const float* from) { Float x; std::memcpy(x.v, from, sizeof x.v); return x; }
    static void store_f(float* to, Float x) { std::memcpy(to, x.v, sizeof x.v); }
    static Int all(int32_t x) { return each<Int>([&](int) { return x; }); }
    static Int all16(int16_t x) { return shorts([&](int, int) { return x; }); }
    static Float all_f(float x) { return each<Float>([&](int) { return x; }); }
    static Float as_float(Int x) { Float y; std::memcpy(y.v, x.v, sizeof y.v); return y; }
    static Int as_int(Float x) { Int y; std::memcpy(y.v, x.v, sizeof y.v); return y; }
    static Float to_float(Int x) { return each<Float>([&](int i) { return float(x.v[i]); }); }

    static Float add(Float a, Float b) { return each<Float>([&](int i) { return a.v[i] + b.v[i]; }); }
    static Float sub(Float a, Float b) { return each<Float>([&](int i) { return a.v[i] - b.v[i]; }); }
    static Float mul(Float a, Float b) { return each<Float>([&](int i) { return a.v[i] * b.v[i]; }); }
    static Float fma(Float a, Float b, Float c) { return each<Float>([&](int i) { return a.v[i] * b.v[i] + c.v[i]; }); }
    static Float max(Float a, Float b) { return each<Float>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; }); }
    static Float min(Float a, Float b) { return each<Float>([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; }); }
    static Float abs(Float a) { return each<Float>([&](int i) { return std::fabs(a.v[i]); }); }
    static Float reciprocal(Float a) { return each<Float>([&](int i) { return 1.f / a.v[i]; }); }
    static Float inverse_root(Float a) { return each<Float>([&](int i) { return 1.f / std::sqrt(a.v[i]); }); }
    static Float round(Float a) { return each<Float>([&](int i) { return std::nearbyint(a.v[i]); }); }
    static Float times_power(Float a, Float n) {
        return each<Float>([&](int i) { return std::ldexp(a.v[i], int(n.v[i])); });
    }
    static float sum(Float a) {
        float total = 0;
        for (float x : a.v) total += x;
        return total;
    }

    static Bytes bytes(Int x) { return x; }
    static Int dot_bytes(Int sum, Bytes x, const uint32_t* w) {
        return each<Int>([&](int i) {
            int32_t total = sum.v[i];
            for (int k = 0; k < 4; k++) total += byte(x, i, k) * int8_t(*w >> (8 * k));
            return total;
        });
    }
    static Int dot_shorts(Int sum, Int x, const uint32_t* w) {
        return each<Int>([&](int i) {
            return sum.v[i] + half(x, i, 0) * int16_t(*w) + half(x, i, 1) * int16_t(*w >> 16);
        });
    }
    static Int difference_of_bytes(Int a, Int b) {
        return each<Int>([&](int i) {
            uint32_t word = 0;
            for (int k = 0; k < 4; k++) word |= uint32_t(std::abs(byte(a, i, k) - byte(b, i, k))) << (8 * k);
            return int32_t(word);
        });
    }

    static Int pack_bytes(Float a, Float b, Float c, Float d) {
        auto at = [](float x) { return uint32_t(within(whole(x), 0, 255)); };
        return each<Int>([&](int i) {
            return int32_t(at(a.v[i]) | at(b.v[i]) << 8 | at(c.v[i]) << 16 | at(d.v[i]) << 24);
        });
    }
    static Int pack_shorts(Float a, Float b) {
        return shorts([&](int i, int k) { return within(whole(k ? b.v[i] : a.v[i]), -32768, 32767); });
    }
    static void deinterleave(Int a, Int b, Int& even, Int& odd) {
        Int e, o;
        for (int i = 0; i < N; i++) {
            e.v[i] = 2 * i < N ? a.v[2 * i] : b.v[2 * i - N];
            o.v[i] = 2 * i < N ? a.v[2 * i + 1] : b.v[2 * i + 1 - N];
        }
        even = e;
        odd = o;
    }
    static void quarter(Int a, Int b, Int& first, Int& second) {
        Int even, odd;
        deinterleave(a, b, even, odd);
        deinterleave(even, odd, first, second);
    }
    static void store_halves(void* low, void* high, Int x) {
        std::memcpy(low, x.v, sizeof x.v / 2);
        std::memcpy(high, x.v + N / 2, sizeof x.v / 2);
    }

    static Int widen_pairs(const uint8_t* from) { return shorts([&](int i, int k) { return from[2 * i + k]; }); }
    static Int widen(const uint8_t* from) { return each<Int>([&](int i) { return int32_t(from[i]); }); }
    static Int widen(const uint16_t* from) { return each<Int>([&](int i) { return int32_t(from[i]); }); }
    static Int both_halves(Int x) { return each<Int>([&](int i) { return int32_t(uint32_t(x.v[i]) * 0x10001u); }); }
    static Int low_halves(Int a, Int b) { return shorts([&](int i, int k) { return half(k ? b : a, i, 0); }); }
    static Int high_halves(Int a, Int b) { return shorts([&](int i, int k) { return half(k ? b : a, i, 1); }); }
    static Int low_half(Int x) { return each<Int>([&](int i) { return x.v[i] & 0xffff; }); }
    static Int high_half(Int x) { return each<Int>([&](int i) { return int32_t(uint32_t(x.v[i]) >> 16); }); }
    static Int shift16(Int x, int down, int up) {
        return shorts([&](int i, int k) { return (uint16_t(half(x, i, k)) >> down) << up; });
    }
    static Int add16(Int a, Int b) { return shorts([&](int i, int k) { return half(a, i, k) + half(b, i, k); }); }
    static Int sub16(Int a, Int b) { return shorts([&](int i, int k) { return half(a, i, k) - half(b, i, k); }); }
    static Int scale16(Int a, Int b) {
        return shorts([&](int i, int k) { return (half(a, i, k) * half(b, i, k) + 0x4000) >> 15; });
    }
    static Int clamp16(Int a, Int most) {
        return shorts([&](int i, int k) { return within(half(a, i, k), 0, half(most, i, k)); });
    }
};

#endif
