/// What ``DeliveryTests`` expects: behind `state:` what that is, then what an input makes of it. The first number is the last that is known, the
/// second, where it is higher, the last that was announced; a gap or an overflow was counted; `!` wakes the consumer. Behind `take`, `look`,
/// `wait`, `end` and `stopped` stands what the consumer was told; `nothing` tells it to wait a little.
let deliveryTable = """
    behind: behind 10
      hear 11 → behind 10 of 11
      hear 15 → behind 10 of 15
      hear 15 behind 9 → behind 10 of 15
      hear 11, not wanted → behind 10 of 11
      hear 11, the last → behind 10 of 11
      tell 15 → behind 10 of 15
      tell 15, not published → behind 10 of 15
      stop → over 10
      ask → looking 10 look 10
    behind, ready: behind 12 of 13 ready 11 12 overflow
      hear 15 → behind 12 of 15 ready 11 12 overflow
      hear 15 behind 9 → behind 12 of 15 ready 11 12 overflow
      tell 15 → behind 12 of 15 ready 11 12 overflow
      tell 15, not published → behind 12 of 15 ready 11 12 overflow
      stop → over 12 of 13 ready 11 12 overflow
      ask → behind 12 of 13 overflow take 11 12
    looking: looking 10
      hear 11 → looking(1) 10 of 11
      hear 10 → looking(1) 10
      hear 15 → looking(1) 10 of 15
      hear 15 behind 9 → looking(1) 10 of 15
      hear 11, not wanted → looking(1) 10 of 11
      hear 11, the last → looking(1) 10 of 11
      tell 15 → looking 10 of 15
      tell 15, not published → looking 10 of 15
      stop → over 10
      ask → looking 10 look 10
      see nothing → live 10
      see 11 → live 11 ready 11
      see 11 12 and more → behind 12 ready 11 12
      see 11, the last → over 11 ready 11
      look failed → behind 10
    looking, 11 held: looking(1) 10 of 11
      hear 11 → looking(2) 10 of 11
      hear 10 → looking(2) 10 of 11
      hear 15 → looking(2) 10 of 15
      hear 15 behind 9 → looking(2) 10 of 15
      hear 11, not wanted → looking(2) 10 of 11
      hear 11, the last → looking(2) 10 of 11
      tell 15 → looking(1) 10 of 15
      tell 15, not published → looking(1) 10 of 15
      stop → over 10 of 11
      ask → looking 10 of 11 look 10
      see nothing → live 11 ready 11
      see 11 → live 11 ready 11
      see 11 12 and more → behind 12 ready 11 12
      see 11, the last → over 11 ready 11
      look failed → behind 10 of 11
    looking, no room: looking(2) 10 of 13
      hear 15 → looking(2) 10 of 15
      hear 15 behind 9 → looking(2) 10 of 15
      tell 15 → looking(2) 10 of 15
      tell 15, not published → looking(2) 10 of 15
      stop → over 10 of 13
      ask → looking 10 of 13 look 10
      see nothing → behind 10 of 13 nothing
      see 11 → behind 11 of 13 ready 11
      see 11 12 and more → behind 12 of 13 ready 11 12
      see 11, the last → over 11 of 13 ready 11
      look failed → behind 10 of 13
    looking, told 12: looking 10 of 12
      hear 11 → looking(1) 10 of 12
      hear 10 → looking(1) 10 of 12
      hear 15 → looking(1) 10 of 15
      hear 15 behind 9 → looking(1) 10 of 15
      hear 11, not wanted → looking(1) 10 of 12
      hear 11, the last → looking(1) 10 of 12
      tell 15 → looking 10 of 15
      tell 15, not published → looking 10 of 15
      stop → over 10 of 12
      ask → looking 10 of 12 look 10
      see nothing → behind 10 of 12 nothing
      see 11 → behind 11 of 12 ready 11
      see 11 12 and more → behind 12 ready 11 12
      see 11, the last → over 11 of 12 ready 11
      look failed → behind 10 of 12
    looking, told 12 late: looking 10 of 12
      hear 11 → looking(1) 10 of 12
      hear 10 → looking(1) 10 of 12
      hear 15 → looking(1) 10 of 15
      hear 15 behind 9 → looking(1) 10 of 15
      hear 11, not wanted → looking(1) 10 of 12
      hear 11, the last → looking(1) 10 of 12
      tell 15 → looking 10 of 15
      tell 15, not published → looking 10 of 15
      stop → over 10 of 12
      ask → looking 10 of 12 look 10
      see nothing → behind 10 of 12 nothing
      see 11 → behind 11 of 12 ready 11
      see 11 12 and more → behind 12 ready 11 12
      see 11, the last → over 11 of 12 ready 11
      look failed → behind 10 of 12
    looking, doubt: looking 10
      hear 11 → looking(1) 10 of 11
      hear 10 → looking(1) 10
      hear 15 → looking(1) 10 of 15
      hear 15 behind 9 → looking(1) 10 of 15
      hear 11, not wanted → looking(1) 10 of 11
      hear 11, the last → looking(1) 10 of 11
      tell 15 → looking 10 of 15
      tell 15, not published → looking 10 of 15
      stop → over 10
      ask → looking 10 look 10
      see nothing → behind 10
      see 11 → behind 11 ready 11
      see 11 12 and more → behind 12 ready 11 12
      see 11, the last → over 11 ready 11
      look failed → behind 10
    live: live 10
      hear 11 → live 11 ready 11
      hear 15 → behind 10 of 15 gap
      hear 15 behind 9 → live 15 ready 15
      hear 11, not wanted → live 11
      hear 11, the last → over 11 ready 11
      tell 15 → behind 10 of 15 gap
      tell 15, not published → behind 10 of 15
      doubt → behind 10
      stop → over 10
      ask → live 10 wait
    live, waiting: live 10
      hear 11 → live 11 ready 11!
      hear 15 → behind 10 of 15 gap!
      hear 15 behind 9 → live 15 ready 15!
      hear 11, not wanted → live 11
      hear 11, the last → over 11 ready 11!
      tell 15 → behind 10 of 15 gap!
      tell 15, not published → behind 10 of 15!
      doubt → behind 10!
      stop → over 10!
      ask → live 10 wait
    live, full: live 12 ready 11 12
      hear 15 → behind 12 of 15 ready 11 12 gap
      hear 15 behind 9 → behind 12 of 15 ready 11 12 overflow
      tell 15 → behind 12 of 15 ready 11 12 gap
      tell 15, not published → behind 12 of 15 ready 11 12
      doubt → behind 12 ready 11 12
      stop → over 12 ready 11 12
      ask → live 12 take 11 12
    over, ready: over 11 ready 11
      hear 15 → over 11 of 15 ready 11
      hear 15 behind 9 → over 11 of 15 ready 11
      tell 15 → over 11 of 15 ready 11
      tell 15, not published → over 11 of 15 ready 11
      ask → over 11 take 11
    over: over 11
      hear 15 → over 11 of 15
      hear 15 behind 9 → over 11 of 15
      tell 15 → over 11 of 15
      tell 15, not published → over 11 of 15
      ask → over 11 end
    stopped, ready: over 12 ready 11 12
      hear 15 → over 12 of 15 ready 11 12
      hear 15 behind 9 → over 12 of 15 ready 11 12
      tell 15 → over 12 of 15 ready 11 12
      tell 15, not published → over 12 of 15 ready 11 12
      ask → over 12 take 11 12
    stopped: over 10
      hear 11 → over 10 of 11
      hear 15 → over 10 of 15
      hear 15 behind 9 → over 10 of 15
      hear 11, not wanted → over 10 of 11
      hear 11, the last → over 10 of 11
      tell 15 → over 10 of 15
      tell 15, not published → over 10 of 15
      ask → over 10 stopped
    """
