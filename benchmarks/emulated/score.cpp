// Scores of one block, for a processor that is emulated: the network and the frames come on standard input.
//
// Numbers of 32 bits: words of the network, the words; height, width, rows of a strip, frames; then for reference and
// distorted each frame's `Format`, and for each of its planes: bytes, bytes of a row, the samples (padded to 4).
#include <cstdio>
#include <vector>

#include "rankdvqa.cpp"

static int32_t number() {
    int32_t value = 0;
    if (std::fread(&value, sizeof value, 1, stdin) != 1) std::exit(3);
    return value;
}

static void fill(void* to, size_t bytes) {
    if (bytes && std::fread(to, 1, bytes, stdin) != bytes) std::exit(3);
}

int main() {
    std::vector<uint32_t> words;
    words.resize(size_t(number()));
    fill(words.data(), 4 * words.size());
    void* network = native_network(words.data(), int64_t(words.size()));
    if (!network) return 4;
    int height = number(), width = number(), strip = number(), frames = number();
    std::vector<std::vector<uint8_t>> kept;
    std::vector<Picture> sides[2];
    for (auto& side : sides) {
        for (int k = 0; k < frames; k++) {
            Picture picture{};
            fill(&picture.format, sizeof picture.format);
            for (int plane = 0; plane < (picture.format.grey ? 1 : 3); plane++) {
                int bytes = number();
                picture.strides[plane] = number();
                kept.emplace_back(size_t(bytes + 3) / 4 * 4);
                fill(kept.back().data(), kept.back().size());
                picture.planes[plane] = kept.back().data();
            }
            side.push_back(picture);
        }
    }
    void* session = native_session(network, height, width, strip);
    double score = native_score(session, sides[0].data(), sides[1].data(), frames);
    std::printf("%s %.17g\n", native_lanes(), score);
    native_session_free(session);
    native_network_free(network);
    return 0;
}
