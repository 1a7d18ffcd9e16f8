import IO

/// All runs: of each fault model, each arm, each seed.
struct Results: Sendable {
    struct Row: Sendable {
        let model: FaultModel
        /// By arm, then by seed.
        let tallies: [[Tally]]

        func values(_ arm: Int, _ value: (Tally) -> Double) -> [Double] {
            tallies[arm].map(value)
        }

        func estimate(_ arm: Int, _ value: (Tally) -> Double) -> Estimate {
            Estimate(of: values(arm, value))
        }

        /// By how much an arm is above another one, from seed to seed.
        func excess(of arm: Int, over other: Int, _ value: (Tally) -> Double) -> Estimate {
            Estimate(of: zip(values(arm, value), values(other, value)).map { $0 - $1 })
        }

        /// By how much less there is of it than in the direct call; nil: there is none in it either.
        func reduction(_ arm: Int, _ value: (Tally) -> Double) -> Estimate? {
            Estimate(reductionTo: values(arm, value), from: values(0, value))
        }
    }

    let arms: [Arm]
    let rows: [Row]

    /// Runs all, one after the other, on one loop.
    static func measure(
        _ models: [FaultModel], _ arms: [Arm], seeds: Range<UInt64>, on loop: EventLoop
    ) async -> Results {
        var rows: [Row] = []
        for model in models {
            var tallies: [[Tally]] = []
            for arm in arms {
                var ofArm: [Tally] = []
                for seed in seeds {
                    let trial = Trial(model, arm, seed: seed, on: loop)
                    ofArm.append(await withTaskExecutorPreference(loop) { await trial.run() })
                }
                tallies.append(ofArm)
            }
            rows.append(Row(model: model, tallies: tallies))
        }
        return Results(arms: arms, rows: rows)
    }
}

extension Tally {
    var failureShare: Double { share(failures) }
    var share500: Double { share(failed500) }
    var lateShare: Double { share(late) }
    var notInTimeShare: Double { share(failures + late) }
    var callsPerRequest: Double { share(calls) }
    var medianSeconds: Double { Double(median) / 1000 }
    var p99Seconds: Double { Double(p99) / 1000 }
    /// Minutes of sandboxes whose id nobody has, a thousand requests.
    var leakedMinutes: Double { share(leaked) * Double(Self.life) * 1000 }
    var heldPerFailure: Double { failures == 0 ? 0 : held.seconds / Double(failures) }

    private func share(_ count: Int) -> Double { Double(count) / Double(max(requests, 1)) }
}
