const text = 'zażółć gęślą jaźń, 東京 🌊 '

/** The data of an event: its number, and text of several bytes a character, so that a cut can go through one. */
export function dataOf(number: number): string {
  return `${number}\n${text.repeat(1 + (number % 4))}`
}

/** An event as it stands on the wire. Written by hand: the upstream shares no code with what it puts to the test. */
export function wireOf(number: number): Buffer {
  const lines = dataOf(number).split('\n')
  return Buffer.from(`id: ${number}\n${lines.map((line) => `data: ${line}\n`).join('')}\n`)
}
