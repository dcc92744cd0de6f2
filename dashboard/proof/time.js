// Times of events, to the microsecond. A Date has only milliseconds.

const pattern = /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/
const first = -62_167_219_200_000_000n
const last = 253_402_300_799_999_999n

/** Microseconds since 1970-01-01T00:00:00Z, a BigInt, of RFC 3339; null for any other text. */
export function microseconds(text) {
  const parts = pattern.exec(text)
  if (!parts) return null
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map(Number)
  if (month < 1 || month > 12 || day < 1 || day > daysOf(month, year)) return null
  if (hour > 23 || minute > 59 || second > 59) return null
  // Digits below the microsecond are cut off, as the ledger does.
  const fraction = Number(((parts[7] ?? "") + "000000").slice(0, 6))
  let zone = 0
  if (parts[8]) {
    const [hours, minutes] = [Number(parts[9]), Number(parts[10])]
    if (hours > 23 || minutes > 59) return null
    zone = (hours * 60 + minutes) * (parts[8] === "+" ? 60 : -60)
  }
  const seconds = daysSinceEpoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - zone
  const time = BigInt(seconds) * 1_000_000n + BigInt(fraction)
  return time >= first && time <= last ? time : null
}

function daysOf(month, year) {
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
  return [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
}

function daysSinceEpoch(year, month, day) {
  const date = new Date(0)
  // Date.UTC would take the years 0 to 99 for those of the 20th century.
  date.setUTCFullYear(year, month - 1, day)
  return Math.round(date.getTime() / 86_400_000)
}
