#include "sim/engine/replay_check.hpp"

#include <gtest/gtest.h>

#include "program_builder.hpp"

namespace moesim {
namespace {

using test::ProgramBuilder;

ProgramBuilder sound() {
  ProgramBuilder b(2);
  b.group({0, 1});
  b.channel(0, 1);
  b.own_ports();
  const auto a = b.compute(0, {.duration = 5});
  b.collective(0, 0, {.stream = Stream::kTp, .duration = 5, .deps = {a}, .port_use = b.port_use({0.5F})});
  b.send(0, 0, {.stream = Stream::kPpForwardSend});
  b.collective(1, 0, {.stream = Stream::kTp});
  b.receive(1, 1, {.stream = Stream::kPpForwardReceive});
  return b;
}

std::string fault_after(void (*change)(ReplayProgram&)) {
  ProgramBuilder b = sound();
  change(b.program);
  return replay_program_fault(b.program).value_or("none");
}

TEST(ReplayCheck, ASoundProgramHasNoFault) {
  EXPECT_EQ(fault_after([](ReplayProgram&) {}), "none");
}

TEST(ReplayCheck, NamesTheFirstFault) {
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.blocks[0].deps[0] = 1; }),
            "block 0 op 1: dependency 1 does not come before it");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.blocks[0].ops[1].dep_count = 2; }),
            "block 0 op 1: its dependencies lie beyond the block's list");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.blocks[0].ops[0].port_use = 9; }),
            "block 0 op 0: port use 9 does not exist");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.blocks[0].ops[0].wait_streams = 1U << kStreams; }),
            "block 0 op 0: waits for a stream that does not exist");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.blocks[0].ops[0].stream = static_cast<Stream>(kStreams); }),
            "block 0 op 0: no such stream");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.durations[0][0] = -1; }), "duration table 0: -1 ps is out of range");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.port_uses[1].share[0] = 1.5F; }),
            "port use 1: share 1.5 is not between 0 and 1");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.compute_slowdown = 0.5; }),
            "compute slowdown 0.5 is not between 1 and 1024");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.entities[0].calls[0].block = 7; }),
            "entity 0: call 0: block 7 does not exist");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.entities[1].durations = 2; }),
            "entity 1: duration table 2 does not exist");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.durations[0].pop_back(); }),
            "entity 0: call 0 op 2: duration 2 does not exist");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.entities[0].compute_scale = 0; }),
            "entity 0: the compute scale is not positive");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.entities[0].ports[0] = 2; }), "entity 0: port 2 does not exist");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.entities[0].groups[0] = 1; }),
            "entity 0: rendezvous 1 does not exist");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.entities[0].groups.clear(); }),
            "entity 0: call 0 op 1: group slot 0 does not exist");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.entities[0].groups[0] = -1; }),
            "rendezvous 0 says 2 members, 1 entities belong to it");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.entities[0].channels.clear(); }),
            "entity 0: call 0 op 2: channel slot 0 does not exist");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.entities[0].channels[0] = -1; }),
            "entity 0: call 0 op 2: channel slot 0 has no peer");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.entities[1].channels[1] = 1; }),
            "entity 0: call 0 op 2: channel slot 0: slot 1 of entity 1 does not lead back");
  EXPECT_EQ(fault_after([](ReplayProgram& p) {
              p.blocks[0].ops.push_back(p.blocks[0].ops[2]);
              p.blocks[0].ops[3].stream = Stream::kDp;
            }),
            "entity 0: channel slot 0 is used on streams pp-forward-send and dp");
  EXPECT_EQ(fault_after([](ReplayProgram& p) { p.blocks[0].ops[2].op_class = ReplayOpClass::kReceive; }),
            "entity 0: call 0 op 2: channel slot 0: even slots send, odd slots receive");
}

TEST(ReplayCheckDeathTest, CheckingAFaultyProgramStops) {
  ProgramBuilder b = sound();
  b.program.blocks[0].deps[0] = 1;
  EXPECT_DEATH(check_replay_program(b.program), "no_fault");
}

}  // namespace
}  // namespace moesim
