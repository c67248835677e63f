import { BaseCommand } from '../../cli/base-command.ts';

export default class ConfigSchema extends BaseCommand {
  static override enableJsonFlag = false;
  static override summary = 'Print the JSON Schema of the configuration file.';
  static override description =
    'For editors: put `# yaml-language-server: $schema=peerless.schema.json` into the first line of the configuration.';
  static override examples = ['<%= config.bin %> <%= command.id %> > peerless.schema.json'];

  override async run(): Promise<void> {
    await this.parse(ConfigSchema);
    const { jsonSchema } = await import('../../config/index.ts');
    this.log(JSON.stringify(jsonSchema(), null, 2));
  }
}
