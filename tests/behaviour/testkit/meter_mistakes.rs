//! The mistakes of a store of meters.

macro_rules! mistakes {
    ($($name:ident: $broken:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum MeterMistake {
            Right,
            $($name,)*
        }

        /// Each mistake, with words of the rule that it breaks.
        pub(crate) const METER_MISTAKES: &[(MeterMistake, &str)] = &[$((MeterMistake::$name, $broken),)*];
    };
}

mistakes! {
    NoSixteenth: "96 / 16 more",
    NoRestOfARate: "one more unit at least",
    RestOfAll: "a sixteenth of little is nothing",
    BelowTheLeast: "below `least`",
    NeverFills: "a rate fills up again",
    FillsTooFast: "a rate grants its burst and what its time fills up",
    OrderOfMeters: "in their order",
    LookTakes: "a look",
    LookRefills: "a look refills nothing",
    WithoutLease: "without a lease gets nothing",
    NoEnd: "says when its period ends",
    WaitOfNothing: "no time helps",
    QuotaComesBackTwice: "comes back once",
    QuotaComesBackLater: "in its own period only",
    RepeatTakes: "a repeated ask",
    RepeatGetsNothing: "a repeated ask gets",
    RepeatAfterClose: "once its lease is closed",
    ReplacedStaysOpen: "a lease that is replaced",
    ReplacedComesBack: "a lease that is replaced",
    CarriedIsSpent: "what is carried stays leased",
    CarriedTwice: "a repeated ask that carries units",
    CarriedWithoutEnd: "no more is carried than there was",
    ClosedTwice: "comes back once",
    MoreIsIgnored: "beyond a lease was spent before",
    MoreWithoutEnd: "no more comes back than there was",
    MoreIsNotLost: "what was not spent was lost",
    OfAnyMeter: "a lease of another meter",
    EmptyLeaseForgotten: "is kept if nothing was asked for",
    RefusedLeaseKept: "a lease without units is not kept",
    NeverLost: "written off",
    LostStaysLost: "a lost lease that comes back is not lost",
    LostUnsaid: "the credits that this call has written off",
    LostAtOnce: "none is lost before its deadline",
    TopUpTwice: "a repeated top-up adds nothing",
    TopUpOfAnyMeter: "an id is of one meter",
    TopUpSaysItsOwn: "a repeated top-up adds nothing",
    TopUpWithoutEnd: "above 2^62 is an error",
    LateTakes: "a late ask takes nothing",
    RefilledTwice: "a refill comes once",
    RefilledAfterAnotherPlan: "without a refill brings no second",
    RefilledForEachPeriod: "with another period brings no second",
    ReplacesNothing: "a refill replaces what is left",
    ExpiresUnsaid: "the sum of all parts",
    BalanceOfNothing: "no balance without credits",
    Races: "racing",
}
