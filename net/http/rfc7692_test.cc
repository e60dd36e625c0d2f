#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/http/internal/websocket_deflate.h"
#include "grove/net/http/internal/websocket_handshake.h"
#include "grove/net/http/server.h"
#include "grove/net/http/websocket.h"
#include "grove/net/http/websocket_test_util.h"
#include "grove/net/testing/memory_listener.h"

// permessage-deflate, by the sections of RFC 7692.
namespace grove::http {
namespace {

using http_internal::AnswerDeflateOffer;
using http_internal::CheckDeflateAnswer;
using http_internal::DeflateOffer;
using http_internal::Extension;
using http_internal::MessageDeflater;
using http_internal::MessageInflater;
using http_internal::ParseExtensions;

std::vector<Extension> Parse(absl::string_view value) {
  const Field field{"Sec-WebSocket-Extensions", value};
  const auto extensions = ParseExtensions(HeaderView(absl::MakeConstSpan(&field, 1)));
  return extensions.value_or(std::vector<Extension>{{"malformed", {}}});
}

// The answer to an offer; "no" if there is none.
std::string Answer(absl::string_view offer, int bits = 15, bool context = true) {
  const std::vector<Extension> offers = Parse(offer);
  const auto answer = AnswerDeflateOffer(offers, bits, context);
  return answer ? answer->field : "no";
}

// 7.1, 5.1.
TEST(Rfc7692Offers, AreAnswered) {
  EXPECT_EQ(Answer(""), "no");
  EXPECT_EQ(Answer("other"), "no");
  EXPECT_EQ(Answer("permessage-deflate"), "permessage-deflate");
  EXPECT_EQ(Answer("other; a=\"b\", permessage-deflate"), "permessage-deflate");
  EXPECT_EQ(Answer("permessage-deflate; client_max_window_bits", 12),
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12");
  // Only who says that he can is asked to (7.1.2.2).
  EXPECT_EQ(Answer("permessage-deflate", 12),
            "permessage-deflate; server_max_window_bits=12");
  EXPECT_EQ(Answer("permessage-deflate; server_max_window_bits=10"),
            "permessage-deflate; server_max_window_bits=10");
  EXPECT_EQ(Answer("permessage-deflate; server_max_window_bits=\"10\""),
            "permessage-deflate; server_max_window_bits=10");
  EXPECT_EQ(Answer("permessage-deflate; client_max_window_bits=9"),
            "permessage-deflate; client_max_window_bits=9");
  EXPECT_EQ(Answer("permessage-deflate; server_no_context_takeover"),
            "permessage-deflate; server_no_context_takeover");
  EXPECT_EQ(Answer("permessage-deflate; client_no_context_takeover"),
            "permessage-deflate; client_no_context_takeover");
  EXPECT_EQ(Answer("permessage-deflate", 15, false),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
  // What zlib cannot do; the next offer is taken (7.1.3's example).
  EXPECT_EQ(Answer("permessage-deflate; server_max_window_bits=8"), "no");
  EXPECT_EQ(Answer("permessage-deflate; client_max_window_bits; "
                   "server_max_window_bits=8, permessage-deflate"),
            "permessage-deflate");
}

// 7.1: an offer like these is declined.
TEST(Rfc7692Offers, ThatAreMalformedAreDeclined) {
  for (absl::string_view parameter :
       {"unknown", "server_no_context_takeover=1", "client_no_context_takeover=true",
        "server_max_window_bits", "server_max_window_bits=7", "server_max_window_bits=16",
        "server_max_window_bits=08", "server_max_window_bits=+9",
        "client_max_window_bits=7", "client_max_window_bits=x",
        "server_no_context_takeover; server_no_context_takeover",
        "client_max_window_bits; client_max_window_bits=10"}) {
    EXPECT_EQ(Answer(absl::StrCat("permessage-deflate; ", parameter)), "no") << parameter;
  }
}

// 5.1, 7.1: what a server may answer to which offer.
TEST(Rfc7692Answers, AreChecked) {
  const auto check = [](absl::string_view answer, int bits, bool context) {
    return CheckDeflateAnswer(Parse(answer).front(), bits, context).has_value();
  };
  EXPECT_EQ(DeflateOffer(15, true), "permessage-deflate; client_max_window_bits");
  EXPECT_EQ(DeflateOffer(12, false),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "client_max_window_bits; server_max_window_bits=12");
  EXPECT_TRUE(check("permessage-deflate", 15, true));
  EXPECT_TRUE(check("permessage-deflate; client_max_window_bits=10", 15, true));
  EXPECT_FALSE(check("permessage-deflate; client_max_window_bits=8", 15, true));
  EXPECT_FALSE(check("permessage-deflate; client_max_window_bits", 15, true));
  EXPECT_FALSE(check("permessage-deflate", 12, true));
  EXPECT_TRUE(check("permessage-deflate; server_max_window_bits=11", 12, true));
  EXPECT_FALSE(check("permessage-deflate", 15, false));
  EXPECT_TRUE(check("permessage-deflate; server_no_context_takeover", 15, false));
  EXPECT_FALSE(check("permessage-deflate; unknown", 15, true));
  EXPECT_FALSE(check("other", 15, true));
}

std::string Inflated(MessageInflater& inflater, absl::string_view hex,
                     size_t piece = 1000) {
  const std::string bytes = absl::HexStringToBytes(hex);
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    const auto result =
        inflater.Feed(absl::string_view(bytes).substr(at, piece), 100, &out);
    if (result != MessageInflater::Result::kOk) return "wrong";
  }
  return inflater.End(100, &out) == MessageInflater::Result::kOk ? out : "wrong end";
}

// 7.2.3.
TEST(Rfc7692Inflater, TheSamples) {
  for (const size_t piece : {size_t{1000}, size_t{1}}) {
    MessageInflater context(15, true);
    EXPECT_EQ(Inflated(context, "f248cdc9c90700", piece), "Hello");
    EXPECT_EQ(Inflated(context, "f200110000", piece), "Hello");
    EXPECT_EQ(Inflated(context, "000500faff48656c6c6f00", piece), "Hello");
    EXPECT_EQ(Inflated(context, "f348cdc9c9070000", piece), "Hello");
    EXPECT_EQ(Inflated(context, "f200110000", piece), "Hello");
    MessageInflater none(15, false);
    EXPECT_EQ(Inflated(none, "f24805000000ffffcac9c90700", piece), "Hello");
    EXPECT_EQ(Inflated(none, "00", piece), "");
    EXPECT_EQ(Inflated(none, "f248cdc9c90700", piece), "Hello");
    // It refers to what is forgotten.
    EXPECT_EQ(Inflated(none, "f200110000", piece), "wrong");
  }
}

TEST(Rfc7692Inflater, WhatIsCutOffOrNoneIsRefused) {
  MessageInflater cut(15, true);
  EXPECT_EQ(Inflated(cut, "f248cdc9"), "wrong end");
  MessageInflater stored(15, true);
  EXPECT_EQ(Inflated(stored, "000500faff4865"), "wrong end");
  MessageInflater reserved(15, true);
  EXPECT_EQ(Inflated(reserved, "07"), "wrong");
}

TEST(Rfc7692Inflater, ABombIsKnownBeforeItIsUnpacked) {
  MessageDeflater deflater(15, 9, false);
  std::string bomb, out;
  ASSERT_TRUE(deflater.Deflate(std::string(50 << 20, '\0'), &bomb));
  EXPECT_LT(bomb.size(), 60'000u);
  MessageInflater inflater(15, false);
  EXPECT_EQ(inflater.Feed(bomb, 1000, &out), MessageInflater::Result::kTooLarge);
  EXPECT_LE(out.size(), 1000u);
  EXPECT_LE(out.capacity(), 10'000u);
}

TEST(Rfc7692Deflater, WhatItMakesCanBeInflated) {
  for (const bool context : {false, true}) {
    for (const int bits : {9, 12, 15}) {
      MessageDeflater deflater(bits, 1, context);
      MessageInflater inflater(bits, context);
      for (int i = 0; i < 50; ++i) {
        std::string message(i % 7 == 0 ? 0 : i * 997 % 70'000, 'a');
        for (size_t k = 0; k < message.size(); k += 3) {
          message[k] = static_cast<char>(k * (i + 7) / 11);
        }
        std::string bytes, out;
        ASSERT_TRUE(deflater.Deflate(message, &bytes));
        ASSERT_FALSE(bytes.empty());
        ASSERT_EQ(inflater.Feed(bytes, 100'000, &out), MessageInflater::Result::kOk);
        ASSERT_EQ(inflater.End(100'000, &out), MessageInflater::Result::kOk);
        ASSERT_TRUE(out == message) << i;
        // One that the peer never gets.
        if (i % 5 == 0) {
          ASSERT_TRUE(deflater.Deflate("lost " + message, &bytes));
          deflater.Forget();
        }
      }
    }
  }
}

class Rfc7692 : public GreenletTest {
 protected:
  void SetUp() override {
    server_ = std::make_unique<HttpServer>(
        listener_, [](Request& request, ResponseWriter& response) {
          absl::StatusOr<WebSocket> ws = AcceptWebSocket(
              request, response,
              {.max_message = 1000, .deflate = {.enabled = true, .keep_context = true}});
          if (!ws.ok()) return;
          std::string data;
          for (;;) {
            const auto type = ws->ReceiveInto(data);
            if (!type.ok() || !type->has_value()) return;
            if (!ws->Send(**type, data).ok()) return;
          }
        });
    server_->Start();
  }
  void TearDown() override { server_.reset(); }
  net::MemoryStream Connect() {
    net::MemoryStream client = *listener_.Connect();
    EXPECT_TRUE(
        client.Write(UpgradeRequest("Sec-WebSocket-Extensions: permessage-deflate\r\n"))
            .ok());
    EXPECT_TRUE(absl::StrContains(ReadThrough(client, "\r\n\r\n"),
                                  "\r\nSec-WebSocket-Extensions: permessage-deflate; "
                                  "server_max_window_bits=12\r\n"));
    return client;
  }
  // What answers these bytes first.
  std::string Ask(absl::string_view bytes) {
    net::MemoryStream client = Connect();
    EXPECT_TRUE(client.Write(bytes).ok());
    return ReadFrame(client);
  }

  net::MemoryListener listener_;
  std::unique_ptr<HttpServer> server_;
};

const std::string kHello = absl::HexStringToBytes("f248cdc9c90700");

// 6, 7.2.3.1: RSV1 in the first frame of a message, and nowhere else.
GREENLET_TEST_F(Rfc7692, TheBit) {
  EXPECT_EQ(Ask(ClientFrame(0x81 | kRsv1, kHello)), "81:Hello");
  EXPECT_EQ(Ask(ClientFrame(0x81, "plain")), "81:plain");
  EXPECT_EQ(Ask(ClientFrame(0x01 | kRsv1, kHello.substr(0, 3)) + ClientFrame(0x89, "p") +
                ClientFrame(0x00, "") + ClientFrame(0x80, kHello.substr(3))),
            "8a:p");
  EXPECT_EQ(Ask(ClientFrame(0x01 | kRsv1, kHello.substr(0, 3)) +
                ClientFrame(0x80, kHello.substr(3))),
            "81:Hello");
  const std::string refused = "88:" + CloseOf(1002);
  EXPECT_EQ(Ask(ClientFrame(0x01 | kRsv1, kHello.substr(0, 3)) +
                ClientFrame(0x80 | kRsv1, kHello.substr(3))),
            refused);
  EXPECT_EQ(Ask(ClientFrame(0x01, "a") + ClientFrame(0x80 | kRsv1, kHello)), refused);
  EXPECT_EQ(Ask(ClientFrame(0x89 | kRsv1, kHello)), refused);
  EXPECT_EQ(Ask(ClientFrame(0x88 | kRsv1, "")), refused);
  EXPECT_EQ(Ask(ClientFrame(0x81 | kRsv1 | 0x20, kHello)), refused);
}

GREENLET_TEST_F(Rfc7692, WhatComesOutIsLookedAt) {
  EXPECT_EQ(Ask(ClientFrame(0xc1, "\x07")), "88:" + CloseOf(1007));
  EXPECT_EQ(Ask(ClientFrame(0xc1, kHello.substr(0, 4))), "88:" + CloseOf(1007));
  MessageDeflater deflater(12, 9, false);
  std::string bytes;
  ASSERT_TRUE(deflater.Deflate("\xff", &bytes));
  EXPECT_EQ(Ask(ClientFrame(0xc1, bytes)), "88:" + CloseOf(1007));
  EXPECT_EQ(Ask(ClientFrame(0xc2, bytes)), "82:\xff");
  ASSERT_TRUE(deflater.Deflate(std::string(1001, 'a'), &bytes));
  EXPECT_EQ(Ask(ClientFrame(0xc2, bytes)), "88:" + CloseOf(1009));
}

GREENLET_TEST_F(Rfc7692, LongMessagesAreCompressedAndRefer) {
  net::MemoryStream client = Connect();
  MessageInflater inflater(12, true);
  const std::string data = "0123456789abcdefghijklmnopqrstuvwxyz" + std::string(200, '!');
  size_t first = 0;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.Write(ClientFrame(0x82, data)).ok());
    const std::string frame = ReadFrame(client);
    ASSERT_TRUE(absl::StartsWith(frame, "c2:")) << frame;
    std::string out;
    ASSERT_EQ(inflater.Feed(frame.substr(3), 1000, &out), MessageInflater::Result::kOk);
    ASSERT_EQ(inflater.End(1000, &out), MessageInflater::Result::kOk);
    EXPECT_EQ(out, data);
    if (i == 0) first = frame.size();
    if (i > 0) {
      EXPECT_LT(frame.size(), first / 2);
    }
  }
}

}  // namespace
}  // namespace grove::http
