// How long a wait may look at the completion queue before it sleeps. Sleeping costs a wake-up, which is dear where a
// hypervisor has to do it; looking costs the time looked. So: look while that has lately been what ends the wait.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ouro {

class SpinBudget {
 public:
  SpinBudget() = default;
  // max_ns: the longest spin, 0 for none at all. share: of the time that passes, how much may go into spins that
  // bring nothing.
  SpinBudget(int64_t max_ns, double share)
      : max_ns_(max_ns), share_(share), allowance_ns_(static_cast<double>(max_ns) * kFirstAllowance) {}

  // How long the wait that begins at now_ns may spin; 0: it sleeps at once.
  int64_t begin(int64_t now_ns) {
    if (max_ns_ == 0) return 0;
    const double most = std::max(share_ * kWindowNs, static_cast<double>(max_ns_) * kFirstAllowance);
    if (last_ns_ != 0) {
      allowance_ns_ = std::min(most, allowance_ns_ + share_ * static_cast<double>(now_ns - last_ns_));
    }
    last_ns_ = now_ns;
    probing_ = budget_ns_ == 0 && short_sleeps_ >= probe_after_;
    const int64_t wish = probing_ ? max_ns_ : budget_ns_;
    return static_cast<double>(wish) <= allowance_ns_ ? wish : 0;
  }

  // A completion came while spinning.
  void hit() {
    // Misses weigh twice as much as hits: below two hits in three the budget goes to nothing.
    budget_ns_ = probing_ ? max_ns_ : std::min(max_ns_, budget_ns_ + max_ns_ / 8);
    if (probing_) probe_after_ = kFirstProbe;
    short_sleeps_ = 0;
  }

  // Nothing came in spun_ns, and the wait went to sleep.
  void miss(int64_t spun_ns) {
    allowance_ns_ -= static_cast<double>(spun_ns);
    if (probing_) probe_after_ = std::min(kLastProbe, probe_after_ * 2);
    budget_ns_ = probing_ ? 0 : std::max<int64_t>(0, budget_ns_ - max_ns_ / 4);
    short_sleeps_ = 0;
  }

  // A wait that had no leave to spin slept for so long. Waking is part of it, so a spin may have been enough where
  // the sleep took up to twice the time; only a spin can tell, and it is tried if most sleeps are like that.
  void slept(int64_t slept_ns) {
    if (slept_ns <= 2 * max_ns_) {
      ++short_sleeps_;
    } else if (short_sleeps_ > 0) {
      --short_sleeps_;
    }
  }

  bool enabled() const { return max_ns_ > 0; }
  uint32_t budget_ns() const { return static_cast<uint32_t>(budget_ns_); }

 private:
  static constexpr double kWindowNs = 100e6;
  static constexpr double kFirstAllowance = 8;  // spins that a ring may waste before it has earned any
  static constexpr uint32_t kFirstProbe = 8;
  static constexpr uint32_t kLastProbe = 1024;

  int64_t max_ns_ = 0;
  double share_ = 0;
  double allowance_ns_ = 0;
  int64_t last_ns_ = 0;
  int64_t budget_ns_ = 0;
  uint32_t short_sleeps_ = 0;
  uint32_t probe_after_ = kFirstProbe;
  bool probing_ = false;
};

}  // namespace ouro
