// A plugin of typedoc: the title of a page is its first heading, and not the name of its file.
import { Converter } from 'typedoc'

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, page) => {
    const [, title] = /^# (.*)\n/.exec(page.content[0]?.text ?? '') ?? []
    if (title === undefined) throw new Error(`the page ${page.name} must begin with its heading`)
    page.name = title
  })
}
