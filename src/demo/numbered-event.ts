const text = 'zażółć gęślą jaźń, 東京 🌊 '

/** The data of an event: its number, and text with multi-byte characters, so that cuts also fall within characters. */
export function dataOf(number: number): string {
  return `${number}\n${text.repeat(1 + (number % 4))}`
}

/** An event in wire form. Not written by `serializeEvent`: the upstream shares no code with the library that it tests. */
export function wireOf(number: number): Buffer {
  const lines = dataOf(number).split('\n')
  return Buffer.from(`id: ${number}\n${lines.map((line) => `data: ${line}\n`).join('')}\n`)
}
