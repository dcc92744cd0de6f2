/// What ``DeliveryTests`` expects. A line `state:` gives the machine before, and the lines below it
/// what each input makes of it: the phase (with the number of held events), the last known number,
/// `of` the highest announced number if that is higher, the events that are ready, and whether a
/// gap or an overflow was counted. `!` means that the input wakes the consumer. `take`,
/// `read after`, `wait`, `end` and `stopped` are the consumer's next step; `nothing` means that the
/// consumer should pause.
let deliveryTable = """
    catch-up: catch-up 10
      receive 11 → catch-up 10 of 11
      receive 15 → catch-up 10 of 15
      receive 15 after 9 → catch-up 10 of 15
      receive 11, not wanted → catch-up 10 of 11
      receive 11, the last → catch-up 10 of 11
      announce 15 → catch-up 10 of 15
      announce 15, not published → catch-up 10 of 15
      stop → ended 10
      next → reading 10 read after 10
    catch-up, ready: catch-up 12 of 13 ready 11 12 overflow
      receive 15 → catch-up 12 of 15 ready 11 12 overflow
      receive 15 after 9 → catch-up 12 of 15 ready 11 12 overflow
      announce 15 → catch-up 12 of 15 ready 11 12 overflow
      announce 15, not published → catch-up 12 of 15 ready 11 12 overflow
      stop → ended 12 of 13 ready 11 12 overflow
      next → catch-up 12 of 13 overflow take 11 12
    reading: reading 10
      receive 11 → reading(1) 10 of 11
      receive 10 → reading(1) 10
      receive 15 → reading(1) 10 of 15
      receive 15 after 9 → reading(1) 10 of 15
      receive 11, not wanted → reading(1) 10 of 11
      receive 11, the last → reading(1) 10 of 11
      announce 15 → reading 10 of 15
      announce 15, not published → reading 10 of 15
      stop → ended 10
      next → reading 10 read after 10
      read nothing → live 10
      read 11 → live 11 ready 11
      read 11 12 and more → catch-up 12 ready 11 12
      read 11, the last → ended 11 ready 11
      read failed → catch-up 10
    reading, 11 held: reading(1) 10 of 11
      receive 11 → reading(2) 10 of 11
      receive 10 → reading(2) 10 of 11
      receive 15 → reading(2) 10 of 15
      receive 15 after 9 → reading(2) 10 of 15
      receive 11, not wanted → reading(2) 10 of 11
      receive 11, the last → reading(2) 10 of 11
      announce 15 → reading(1) 10 of 15
      announce 15, not published → reading(1) 10 of 15
      stop → ended 10 of 11
      next → reading 10 of 11 read after 10
      read nothing → live 11 ready 11
      read 11 → live 11 ready 11
      read 11 12 and more → catch-up 12 ready 11 12
      read 11, the last → ended 11 ready 11
      read failed → catch-up 10 of 11
    reading, no room: reading(2) 10 of 13
      receive 15 → reading(2) 10 of 15
      receive 15 after 9 → reading(2) 10 of 15
      announce 15 → reading(2) 10 of 15
      announce 15, not published → reading(2) 10 of 15
      stop → ended 10 of 13
      next → reading 10 of 13 read after 10
      read nothing → catch-up 10 of 13 nothing
      read 11 → catch-up 11 of 13 ready 11
      read 11 12 and more → catch-up 12 of 13 ready 11 12
      read 11, the last → ended 11 of 13 ready 11
      read failed → catch-up 10 of 13
    reading, announced 12: reading 10 of 12
      receive 11 → reading(1) 10 of 12
      receive 10 → reading(1) 10 of 12
      receive 15 → reading(1) 10 of 15
      receive 15 after 9 → reading(1) 10 of 15
      receive 11, not wanted → reading(1) 10 of 12
      receive 11, the last → reading(1) 10 of 12
      announce 15 → reading 10 of 15
      announce 15, not published → reading 10 of 15
      stop → ended 10 of 12
      next → reading 10 of 12 read after 10
      read nothing → catch-up 10 of 12 nothing
      read 11 → catch-up 11 of 12 ready 11
      read 11 12 and more → catch-up 12 ready 11 12
      read 11, the last → ended 11 of 12 ready 11
      read failed → catch-up 10 of 12
    reading, announced 12 late: reading 10 of 12
      receive 11 → reading(1) 10 of 12
      receive 10 → reading(1) 10 of 12
      receive 15 → reading(1) 10 of 15
      receive 15 after 9 → reading(1) 10 of 15
      receive 11, not wanted → reading(1) 10 of 12
      receive 11, the last → reading(1) 10 of 12
      announce 15 → reading 10 of 15
      announce 15, not published → reading 10 of 15
      stop → ended 10 of 12
      next → reading 10 of 12 read after 10
      read nothing → catch-up 10 of 12 nothing
      read 11 → catch-up 11 of 12 ready 11
      read 11 12 and more → catch-up 12 ready 11 12
      read 11, the last → ended 11 of 12 ready 11
      read failed → catch-up 10 of 12
    reading, a gap suspected: reading 10
      receive 11 → reading(1) 10 of 11
      receive 10 → reading(1) 10
      receive 15 → reading(1) 10 of 15
      receive 15 after 9 → reading(1) 10 of 15
      receive 11, not wanted → reading(1) 10 of 11
      receive 11, the last → reading(1) 10 of 11
      announce 15 → reading 10 of 15
      announce 15, not published → reading 10 of 15
      stop → ended 10
      next → reading 10 read after 10
      read nothing → catch-up 10
      read 11 → catch-up 11 ready 11
      read 11 12 and more → catch-up 12 ready 11 12
      read 11, the last → ended 11 ready 11
      read failed → catch-up 10
    live: live 10
      receive 11 → live 11 ready 11
      receive 15 → catch-up 10 of 15 gap
      receive 15 after 9 → live 15 ready 15
      receive 11, not wanted → live 11
      receive 11, the last → ended 11 ready 11
      announce 15 → catch-up 10 of 15 gap
      announce 15, not published → catch-up 10 of 15
      suspect a gap → catch-up 10
      stop → ended 10
      next → live 10 wait
    live, waiting: live 10
      receive 11 → live 11 ready 11!
      receive 15 → catch-up 10 of 15 gap!
      receive 15 after 9 → live 15 ready 15!
      receive 11, not wanted → live 11
      receive 11, the last → ended 11 ready 11!
      announce 15 → catch-up 10 of 15 gap!
      announce 15, not published → catch-up 10 of 15!
      suspect a gap → catch-up 10!
      stop → ended 10!
      next → live 10 wait
    live, full: live 12 ready 11 12
      receive 15 → catch-up 12 of 15 ready 11 12 gap
      receive 15 after 9 → catch-up 12 of 15 ready 11 12 overflow
      announce 15 → catch-up 12 of 15 ready 11 12 gap
      announce 15, not published → catch-up 12 of 15 ready 11 12
      suspect a gap → catch-up 12 ready 11 12
      stop → ended 12 ready 11 12
      next → live 12 take 11 12
    ended, ready: ended 11 ready 11
      receive 15 → ended 11 of 15 ready 11
      receive 15 after 9 → ended 11 of 15 ready 11
      announce 15 → ended 11 of 15 ready 11
      announce 15, not published → ended 11 of 15 ready 11
      next → ended 11 take 11
    ended: ended 11
      receive 15 → ended 11 of 15
      receive 15 after 9 → ended 11 of 15
      announce 15 → ended 11 of 15
      announce 15, not published → ended 11 of 15
      next → ended 11 end
    stopped, ready: ended 12 ready 11 12
      receive 15 → ended 12 of 15 ready 11 12
      receive 15 after 9 → ended 12 of 15 ready 11 12
      announce 15 → ended 12 of 15 ready 11 12
      announce 15, not published → ended 12 of 15 ready 11 12
      next → ended 12 take 11 12
    stopped: ended 10
      receive 11 → ended 10 of 11
      receive 15 → ended 10 of 15
      receive 15 after 9 → ended 10 of 15
      receive 11, not wanted → ended 10 of 11
      receive 11, the last → ended 10 of 11
      announce 15 → ended 10 of 15
      announce 15, not published → ended 10 of 15
      next → ended 10 stopped
    """
