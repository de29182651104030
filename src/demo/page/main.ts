import type { Note, Published, Status, UpstreamState } from '../messages.ts'
import { find, type Mood, onUse, say, sayState, setAvailable } from './elements.ts'
import { Lane } from './lane.ts'
import { Log } from './log.ts'
import { ask } from './requests.ts'
import { Session } from './session.ts'

const upstreamStates: Readonly<Record<UpstreamState, readonly [text: string, mood: Mood]>> = {
  up: ['The upstream is up', 'fine'],
  killed: ['The upstream is killed, and will be back', 'lost'],
  unavailable: ['The upstream answers 503', 'lost'],
  'restart due': ['The upstream restarts as soon as the gateway is connected', 'late'],
  restarting: ['The upstream restarts', 'lost'],
}

let status: Status | undefined
let opened: Status['addresses'] | undefined

const gateway = new Lane(find('#gateway', HTMLElement), () =>
  status?.isConnected ? 'Waiting for events' : 'The gateway connects again. This connection stays open',
)
const pipe = new Lane(
  find('#pipe', HTMLElement),
  (seconds) => `Silent for ${seconds} s on an open connection: the browser waits for ever`,
)
const lanes = [gateway, pipe]
const session = new Session(ask)
const log = new Log()
const upstream = find('#upstream', HTMLElement)
const faults = [...document.querySelectorAll<HTMLButtonElement>('[data-fault]')]
const reload = find('#reload', HTMLButtonElement)

function openOnce({ addresses }: Status): void {
  if (opened) {
    // Another run of the demonstration has taken the place of the one that this page was from.
    if (opened.gateway !== addresses.gateway || opened.pipe !== addresses.pipe) location.reload()
    return
  }
  opened = addresses
  gateway.open(addresses.gateway)
  pipe.open(addresses.pipe)
  const name = location.hash.slice(1)
  if (name !== '') session.open(name)
}

function showStatus(current: Status): void {
  const { connections, pages, gateways, reconnects, repeats } = current
  sayState(upstream, ...upstreamStates[current.upstream])
  for (const button of faults) setAvailable(button, current.upstream === 'up')
  const times = reconnects === 1 ? 'once' : `${reconnects} times`
  const some = repeats === 1 ? '1 repeat' : `${repeats} repeats`
  say(find('#work', HTMLElement), `The gateway has reconnected ${times}, and dropped ${some}.`)
  say(find('#clients', HTMLElement), `${pages.gateway}`)
  say(find('#pipe-clients', HTMLElement), `${pages.pipe}`)
  say(find('#gateway-connections', HTMLElement), `${connections.gateway}`)
  say(find('#pipe-connections', HTMLElement), `${connections.pipe}`)
  const lines = gateways.map(({ name, pid, isOwner }) => {
    const what = pid === undefined ? 'starts' : `process ${pid}`
    return `${name}: ${what}${isOwner ? ', has the upstream of the shared stream' : ''}`
  })
  const list = find('#processes', HTMLElement)
  if (list.dataset.lines === lines.join()) return
  list.dataset.lines = lines.join()
  list.replaceChildren(
    ...lines.map((line) => {
      const item = document.createElement('li')
      item.textContent = line
      return item
    }),
  )
}

function listen(): void {
  const source = new EventSource('/status')
  source.addEventListener('status', ({ data }) => {
    const current: Status = JSON.parse(data)
    status = current
    session.update(current)
    openOnce(current)
    showStatus(current)
  })
  source.addEventListener('published', ({ data }) => {
    const published: Published = JSON.parse(data)
    for (const lane of lanes) lane.publish(published)
  })
  source.addEventListener('note', ({ data }) => {
    const note: Note = JSON.parse(data)
    log.add(note)
    if (note.isFault) for (const lane of lanes) lane.fault(note.at)
  })
  source.onerror = () =>
    sayState(upstream, 'The demonstration has stopped. Start it again, and reload this page', 'lost')
}

for (const button of faults) {
  onUse(button, async () => {
    const { status } = await ask(`/upstream/${button.dataset.fault}`)
    if (status === 409) sayState(upstream, 'Not now: the upstream is not back yet', 'late')
  })
}

reload.onclick = () => {
  if (status) pipe.open(status.addresses.pipe)
}

/** Moves the drawings in each frame, or in steps of a second for those who want no motion. */
function draw(): void {
  const isStill = matchMedia('(prefers-reduced-motion: reduce)')
  let latest = 0
  const frame = (time: number) => {
    if (!isStill.matches || time - latest >= 1000) {
      latest = time
      for (const lane of lanes) lane.draw()
    }
    requestAnimationFrame(frame)
  }
  requestAnimationFrame(frame)
}

listen()
draw()
setInterval(() => {
  for (const lane of lanes) {
    lane.count()
    // A hidden page has no frames, and would keep every bar.
    if (document.hidden) lane.draw()
  }
}, 250)
